"""The templates: an algorithm, its choices and its schedule each."""

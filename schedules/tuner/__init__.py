"""The tuner: which choices to measure next, what was learned from those that were, and what is kept of it."""

"""Trained models that packages of PyPI carry, with the sizes their owners use."""

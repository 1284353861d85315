"""Searches what is done to each layer of a model: the front of accuracy against speed and size."""

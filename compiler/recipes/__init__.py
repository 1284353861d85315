"""Recipes: what is done to a model beside compiling it, in a file that people read and edit."""

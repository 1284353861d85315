"""Loops -> machine code."""

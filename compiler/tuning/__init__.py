"""Measuring what the tuner proposes, and telling of it."""

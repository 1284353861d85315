"""How grids of threads stand in TensorIR: statements with attributes, around what each thread does."""

from __future__ import annotations

LAUNCH = "thread_extent"  # of a place in a grid; its value is how many there are

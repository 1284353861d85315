"""How grids of threads stand in TensorIR: statements with attributes, around what each thread does."""

from __future__ import annotations

LAUNCH = "thread_extent"  # of a place in a grid; its value is how many there are
RUNS_IF = "tilewright.runs_if"  # of what a block of threads does; its value is whether there is anything to do

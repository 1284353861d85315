"""What a machine multiplies and adds at most, as a C program can measure it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PeakLoop:
    """C code for `compiler/measurement/machine_peak.py`.

    Attributes:
        function: ``static void multiply_add(long count)``, whose loop of `count` passes takes nothing from memory.
            There are ``vector``, a float vector as wide as a register of the level, ``LANES`` of it, the variable
            ``threads``, and ``sink``, a volatile float that a result is left in.
        flops: operations of one pass; a multiplication with its addition counts as two.
        set_up: a statement that is run once before: what the process has to ask the system for.
    """

    function: str
    flops: int
    set_up: str = ""

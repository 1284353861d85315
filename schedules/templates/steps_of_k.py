"""Steps of k that an inner loop writes out, and the loads that bring a row's elements of A for them.

Where multiply-adds take an operand by its place in a register, one load brings several elements that stand side by
side. Steps are a divisor of the loop's extent; what is left of them after whole registers comes in one more load, which
ends with the last step. So of 7 steps a row takes two loads, of elements 0 to 3 and 3 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...targets.target import Target

# Steps that are written out at most.
_MOST_STEPS = 32
_WRITTEN_OUT_BY_LLVM = (2, 3)


@dataclass(frozen=True)
class LoopsOverK:
    """How a tile runs over k.

    Attributes:
        k: extents of the loops; empty for those of the workload.
        k_step: steps of the innermost one that are written out.
    """

    k: tuple[int, ...] = ()
    k_step: int = 1


def loaded_at_once(k_step: int, target: Target) -> int:
    """Elements of a row that a load brings where so many steps are written out: a power of two."""
    return 1 << min(k_step, target.operand_lanes).bit_length() - 1


def loads_of(k_step: int, target: Target) -> int:
    """Loads of a row for so many steps."""
    return math.ceil(k_step / loaded_at_once(k_step, target))


def loops_over_k(k: tuple[int, ...], runs: Sequence[tuple[int, ...]], target: Target) -> list[LoopsOverK]:
    """Single steps, and what takes the fewest loads for each; with two axes joined to one, if that takes fewer still.

    Few channels make short loops: those of a filter of 7x7x3 are 21 long with its last axis joined to the channels.

    Args:
        k: extents of a workload.
        runs: other extents that may stand for them.
    """
    steps = _written_out(k[-1], target.operand_lanes, target)
    loops = [LoopsOverK((), each) for each in sorted({1, steps, _written_out(k[-1], target.written_steps, target)})]
    for run in runs:
        if len(run) == len(k) - 1 and math.prod(run) == math.prod(k):
            of_run = _written_out(run[-1], target.operand_lanes, target)
            if loads_of(of_run, target) / of_run < loads_of(steps, target) / steps:
                loops.append(LoopsOverK(run, of_run))
    return loops


def _written_out(extent: int, near: int, target: Target) -> int:
    """Of the divisors of an extent the one of the fewest loads for a step; of those the one nearest to a number.

    LLVM writes a loop out whole that takes two or three times as many steps as a load brings or more.
    """
    divisors = (steps for steps in range(1, min(extent, _MOST_STEPS) + 1) if extent % steps == 0)
    fit = (steps for steps in divisors if steps <= target.operand_lanes or extent // steps not in _WRITTEN_OUT_BY_LLVM)
    return min(fit, key=lambda steps: (loads_of(steps, target) / steps, abs(steps - near)))

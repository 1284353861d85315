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
# LLVM writes a loop of fewer large steps out, and then holds operands of two of them.
_FEWEST_ITERATIONS = 4


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
    """Single steps, and what takes the fewest loads for each: a few steps, or more in loops that go on for longer.

    Few channels make short loops: those of a filter of 7x7x3 are 21 long with its last axis joined to the channels,
    which is another way where that takes fewer loads.

    Args:
        k: extents of a workload.
        runs: other extents that may stand for them.
    """
    few = _fewest_loads(k[-1], target)
    loops = [LoopsOverK((), steps) for steps in sorted({1, *few})]
    for run in runs:
        if len(run) == len(k) - 1 and math.prod(run) == math.prod(k):
            of_run = _fewest_loads(run[-1], target)
            if _loads_a_step(of_run[0], target) < _loads_a_step(few[0], target):
                loops += [LoopsOverK(run, steps) for steps in of_run]
    return loops


def _fewest_loads(extent: int, target: Target) -> list[int]:
    """Of the divisors of an extent the first of the fewest loads for a step, and the first of as few that is long."""
    divisors = [steps for steps in range(1, min(extent, _MOST_STEPS) + 1) if extent % steps == 0]
    least = min(_loads_a_step(steps, target) for steps in divisors)
    first, *others = (steps for steps in divisors if _loads_a_step(steps, target) == least)
    long = (each for each in others if each >= target.written_steps > first and extent // each >= _FEWEST_ITERATIONS)
    return [first, *list(long)[:1]]


def _loads_a_step(steps: int, target: Target) -> float:
    return loads_of(steps, target) / steps

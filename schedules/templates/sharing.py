"""How many cores share a kernel, and how long the slowest of them takes.

A parallel loop hands each of its threads one run of iterations of the same length, the last ones less; that costs a
hand-off. A choice says how many threads share a kernel at most: few where there is little work.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import overload

import numpy as np
import numpy.typing as npt

from ...targets.target import Target

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def thread_counts(target: Target) -> Iterator[int]:
    """What a choice may say of how many threads share work: one, powers of two, and all cores."""
    count = 1
    while count < target.cores:
        yield count
        count *= 2
    yield target.cores


def elapsed(cycles: float, iterations: int, threads: int, target: Target) -> float:
    """Cycles until the last of so many threads is done.

    Args:
        cycles: of one core for everything.
        iterations: of the parallel loop, all of the same length.
    """
    threads = min(threads, iterations)
    if threads <= 1:
        return cycles
    slowest = math.ceil(iterations / threads) / iterations
    return cycles * slowest + hand_off(threads, target)


@overload
def hand_off(threads: int, target: Target) -> float: ...
@overload
def hand_off(threads: Integers, target: Target) -> Floats: ...
def hand_off(threads: int | Integers, target: Target) -> float | Floats:
    """Cycles that it takes to wake so many threads and to wait for them; none for one."""
    return target.core.hand_off * np.log2(threads)


def hand_off_rounds(threads: int) -> float:
    """What `hand_off` counts for so many threads, in the cost of waking one more than the caller."""
    return float(np.log2(threads))


def best_threads(cycles: float, iterations: int, target: Target) -> int:
    """The number of threads with which work is done first; of several the smallest."""
    return min(thread_counts(target), key=lambda threads: elapsed(cycles, iterations, threads, target))

"""Interpolation along axes that are not the last: positions and weights are one for a row, elements are in vectors.

The loop nest, with the last axes, along which nothing is interpolated, perhaps as one:

    parallel (axes before, the first interpolated axis)
        for the second interpolated axis, axes between
            for vectors, vectorized lanes of the last axes:     result = sum of weights * elements; epilogue
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "interpolation"
_LOADS_PER_CYCLE = 2
_STORE_CYCLES = 1


@dataclass(frozen=True)
class Interpolation:
    """What is interpolated.

    Attributes:
        output: extents of the result.
        inner: how many of the last axes come after those that are interpolated.
        terms: of each sum.
        bits: of an element.
    """

    output: tuple[int, ...]
    inner: int
    terms: int
    bits: int


@dataclass(frozen=True)
class InterpolationChoice(Choice):
    """Vectors of so many lanes along the last axes, so many of which are one; so many threads at most."""

    lanes: int
    fused: int
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Interpolations."""
    return isinstance(workload, Interpolation)


def space(workload: Interpolation, target: Target) -> Iterator[InterpolationChoice]:
    """All vectors up to a register; a table's places are read one by one."""
    for fused in sorted({1, max(1, workload.inner)}):
        most = _lanes(workload, fused, target)
        for lanes in (1 << power for power in range(most.bit_length())):
            for threads in thread_counts(target):
                yield InterpolationChoice(lanes, fused, threads)


def _lanes(workload: Interpolation, fused: int, target: Target) -> int:
    return plain.lanes_for(math.prod(workload.output[-fused:]), target, workload.bits) if workload.inner else 1


def default(workload: Interpolation, target: Target) -> InterpolationChoice:
    """Whole vectors: of the last axis, or where that does not fill them, of all that come after."""
    lanes = _lanes(workload, 1, target)
    fills = workload.output[-1] % target.lanes(workload.bits) == 0
    fused = 1 if fills or not workload.inner else workload.inner
    lanes = _lanes(workload, fused, target)
    threads = best_threads(_cycles(workload, lanes, fused), _tasks(workload, fused), target)
    return InterpolationChoice(lanes, fused, threads)


def estimate(workload: Interpolation, choice: InterpolationChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in the caches."""
    cycles = _cycles(workload, choice.lanes, choice.fused)
    return elapsed(cycles, _tasks(workload, choice.fused), choice.threads, target)


def _cycles(workload: Interpolation, lanes: int, fused: int) -> float:
    rows = math.prod(workload.output[:-fused])
    vectors = math.ceil(math.prod(workload.output[-fused:]) / lanes)
    return rows * vectors * (workload.terms / _LOADS_PER_CYCLE + _STORE_CYCLES)


def _shared(workload: Interpolation, fused: int) -> int:
    """How many of the first axes threads share: all but the last two that there are loops over, if there are more."""
    return max(1, len(workload.output) - fused - 1)


def _tasks(workload: Interpolation, fused: int) -> int:
    return math.prod(workload.output[: _shared(workload, fused)])


def schedule_kernel(sch: Schedule, choice: InterpolationChoice, target: Target) -> None:
    """Schedules a kernel around one block of sums."""
    (anchor,) = blocks.anchors(sch)
    blocks.inline_producers(sch, [anchor])
    leftover = blocks.absorb_consumers(sch, anchor)
    for block in [*blocks.stages(sch, anchor), *leftover]:
        plain.schedule_block(sch, block, choice.threads, target)

    loops = list(sch.get_loops(anchor))
    outer, inner = loops[: -choice.fused], loops[-choice.fused :]
    row = sch.fuse(*inner) if len(inner) > 1 else inner[0]
    if choice.lanes > 1:
        sch.vectorize(sch.split(row, [None, choice.lanes])[1])
    if choice.threads > 1 and outer:
        shared = outer[: max(1, len(outer) - 1)]
        blocks.share(sch, sch.fuse(*shared) if len(shared) > 1 else shared[0], choice.threads)

"""Windows, group norms and interpolations on grids: a thread for each result, as `grid.py` schedules them.

Workloads and computes are those of `window.py`, `group_norm.py` and `interpolation.py`. What may be chosen is how many
threads a block has, and what the algorithm itself leaves open: parts of whole windows, pixels of a block of statistics.
Both decide how many threads there are for what each of them adds up in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te

from ...targets.target import FLOAT32_BITS, Target
from ..tensorir.expressions import dtype_bits
from . import grid, group_norm, window_choice
from .choices import Choice
from .grid import USUAL_THREADS, GridChoice
from .group_norm import GroupNormChoice, Groups
from .interpolation import Interpolation
from .window_choice import Windows

# Cycles of a grid behind another one.
_LAUNCH_CYCLES = 1500
_FLOAT_BYTES = FLOAT32_BITS // 8


@dataclass(frozen=True)
class GridWindowChoice(Choice):
    """So many threads a ``block``; whole windows are reduced in so many ``parts`` of their outermost axis."""

    block: int
    parts: int = 1


@dataclass(frozen=True)
class GridGroupNormChoice(Choice):
    """So many threads a ``block``; statistics are taken of blocks of so many ``pixels``, a thread for each channel."""

    block: int
    pixels: int


def windows_space(workload: Windows, target: Target) -> Iterator[GridWindowChoice]:
    """All parts, in blocks that differ by the results that they have."""
    for parts in window_choice.parts_of(workload):
        output = workload.output
        stages = [output] if parts == 1 else [(parts, *output), output]
        found = set()
        for block in grid.thread_counts(target):
            tiles = tuple(grid.tile(each, block) for each in stages)
            if tiles not in found:
                found.add(tiles)
                yield GridWindowChoice(block, parts)


def windows_default(workload: Windows, target: Target) -> GridWindowChoice:
    """The fewest estimated cycles, in blocks up to the usual size."""
    usual = (each for each in windows_space(workload, target) if each.block <= USUAL_THREADS)
    return min(usual, key=lambda choice: windows_estimate(workload, choice, target))


def windows_estimate(workload: Windows, choice: GridWindowChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    results, terms = math.prod(workload.output), math.prod(workload.offsets) // choice.parts
    # Neighbours share what they read.
    read = results * (choice.parts * terms if workload.is_whole else math.prod(workload.strides))
    steps = terms * (2 + workload.weighted)
    if choice.parts == 1:
        return _of_stage(workload.output, choice, steps, read + results, target)
    first = _of_stage((choice.parts, *workload.output), choice, steps, read + results * choice.parts, target)
    joined = _of_stage(workload.output, choice, 2 * choice.parts, results * (choice.parts + 1), target)
    return first + _LAUNCH_CYCLES + joined


def _of_stage(extents: Sequence[int], choice: GridWindowChoice, steps: int, moved: int, target: Target) -> float:
    """Estimated cycles of one of the grids, whose results have these extents, and which moves so many elements."""
    down, across = grid.tile(extents, choice.block)
    *outer, last = extents
    count = math.ceil(last / across) * (math.prod(outer[:-1]) * math.ceil(outer[-1] / down) if outer else 1)
    return grid.elapsed(count, down * across, steps, moved * _FLOAT_BYTES, target)


def group_norm_space(workload: Groups, target: Target) -> Iterator[GridGroupNormChoice]:
    """All blocks of pixels, and all blocks of threads up to all results."""
    for pixels in group_norm.block_sizes(workload):
        for block in grid.thread_counts(target, _elements(workload)):
            yield GridGroupNormChoice(block, pixels)


def _elements(workload: Groups) -> int:
    return workload.images * workload.pixels * workload.channels


def group_norm_default(workload: Groups, target: Target) -> GridGroupNormChoice:
    """The fewest estimated cycles, in blocks up to the usual size."""
    usual = (each for each in group_norm_space(workload, target) if each.block <= USUAL_THREADS)
    return min(usual, key=lambda choice: group_norm_estimate(workload, choice, target))


def group_norm_estimate(workload: Groups, choice: GridGroupNormChoice, target: Target) -> float:
    """Estimated cycles until the last block is done: sums and squares, both joined by channels and groups, results."""
    elements, channels = _elements(workload), workload.images * workload.channels
    size = dtype_bits(workload.dtype) // 8
    count = math.ceil(workload.pixels / choice.pixels)
    inner = workload.channels // workload.groups
    parts = channels * count

    def stage(results: int, steps: int, moved: int) -> float:
        count = math.ceil(results / choice.block)
        return grid.elapsed(count, choice.block, steps, moved * size, target) + _LAUNCH_CYCLES

    statistics = 2 * stage(parts, 2 * choice.pixels, elements + parts)
    by_channel = 2 * stage(channels, 2 * count, parts + channels)
    by_group = 2 * stage(workload.images * workload.groups, 2 * inner, channels)
    return statistics + by_channel + by_group + stage(elements, 4, 2 * elements)


def group_norm_compute(
    workload: Groups, choice: GridGroupNormChoice, target: Target, *operands: te.Tensor, **options: Any
) -> te.Tensor:
    """What `group_norm.compute` says."""
    return group_norm.compute(workload, GroupNormChoice(choice.pixels, 1, 1), target, *operands, **options)


def interpolation_space(workload: Interpolation, target: Target) -> Iterator[GridChoice]:
    """All blocks up to all results."""
    return (GridChoice(block) for block in grid.thread_counts(target, math.prod(workload.output)))


def interpolation_default(workload: Interpolation, target: Target) -> GridChoice:
    """The fewest estimated cycles, in blocks up to the usual size."""
    usual = (each for each in interpolation_space(workload, target) if each.block <= USUAL_THREADS)
    return min(usual, key=lambda choice: interpolation_estimate(workload, choice, target))


def interpolation_estimate(workload: Interpolation, choice: GridChoice, target: Target) -> float:
    """Estimated cycles until the last block is done; places and weights come from tables."""
    results = math.prod(workload.output)
    count, moved = math.ceil(results / choice.block), 2 * results * workload.bits // 8
    return grid.elapsed(count, choice.block, 4 * workload.terms, moved, target)

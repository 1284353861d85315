"""The plain schedule: any block, vectorized along its last axis and parallel over the others.

It serves element-wise and layout kernels, the stages of templates (padding, packing), and every workload that no
template takes.
"""

from __future__ import annotations

import math
from functools import partial

from tvm.s_tir import Schedule

from ..targets.target import Target
from . import blocks
from .blocks import Block, Loop

# Elements below which waking other cores costs more than they save.
PARALLEL_ELEMENTS = 1 << 16


def schedule_kernel(sch: Schedule, target: Target) -> None:
    """Schedules a kernel without an anchor."""
    everything = blocks.child_blocks(sch)
    for block in everything[:-1]:
        if not blocks.is_reduction(sch, block):
            blocks.try_primitive(partial(sch.compute_inline, block))
    for block in blocks.child_blocks(sch):
        schedule_block(sch, block, target)


def schedule_block(sch: Schedule, block: Block, target: Target) -> None:
    """Schedules one block that stands alone under the root."""
    spatial, reduction = _loops_by_kind(sch, block)
    if not spatial and not reduction:
        return
    if reduction:
        _schedule_reduction(sch, block, spatial, reduction, target)
        return
    extents = [blocks.extent(sch, loop) for loop in spatial]
    inner = _inner_loop(sch, spatial, target)
    if inner and target.cores > 1 and math.prod(extents) >= PARALLEL_ELEMENTS:
        parallelize(sch, inner)


def _inner_loop(sch: Schedule, spatial: list[Loop], target: Target) -> list[Loop]:
    """Vectorizes the last axis; returns the loops outside the innermost one."""
    return [*spatial[:-1], *vectorize(sch, spatial[-1], target)]


def _schedule_reduction(
    sch: Schedule, block: Block, spatial: list[Loop], reduction: list[Loop], target: Target
) -> None:
    elements = math.prod(blocks.extent(sch, loop) for loop in [*spatial, *reduction])
    if not spatial:
        return
    sch.reorder(*spatial, *reduction)
    if target.cores > 1 and elements >= PARALLEL_ELEMENTS:
        parallelize(sch, spatial)
    sch.decompose_reduction(block, sch.get_loops(block)[-len(reduction)])


def vectorize(sch: Schedule, loop: Loop, target: Target) -> list[Loop]:
    """Vectorizes a loop; what does not fill a register at its end becomes shorter vectors when it is lowered.

    Returns:
        The loop over registers, if there is one.
    """
    lanes = lanes_for(blocks.extent(sch, loop), target)
    if lanes == 1:
        return []
    vectors, lane = sch.split(loop, [None, lanes])
    sch.vectorize(lane)
    return [vectors]


def lanes_for(extent: int, target: Target) -> int:
    """The lanes of a vector for a loop: a register's, or the power of two that holds them all, if that is smaller."""
    return min(target.lanes(), 1 << (extent - 1).bit_length())


def parallelize(sch: Schedule, outer: list[Loop]) -> list[Loop]:
    """Spreads the outermost loops over the cores; returns the one loop they became."""
    fused = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    if blocks.extent(sch, fused) > 1:
        sch.parallel(fused)
    return [fused]


def _loops_by_kind(sch: Schedule, block: Block) -> tuple[list[Loop], list[Loop]]:
    """The spatial and the reduction loops of a block that no schedule has touched: one loop an iteration variable."""
    loops = list(sch.get_loops(block))
    kinds = [int(var.iter_type) for var in sch.get(block).iter_vars]
    if len(kinds) != len(loops):
        return [], []
    return (
        [loop for loop, kind in zip(loops, kinds, strict=True) if kind == blocks.DATA_PARALLEL],
        [loop for loop, kind in zip(loops, kinds, strict=True) if kind == blocks.REDUCTION],
    )

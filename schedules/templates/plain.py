"""The plain schedule: any block, vectorized along its last axis and parallel over the others.

It serves element-wise and layout kernels, the stages of templates (padding, packing), and every workload that no
template takes. The loop nest:

    parallel (outer axes, registers)
        for reduction axes
            vectorized lanes            registers that are not full: see compiler/lowering/vector_borders.py

Reductions to one result are vectorized where neighbouring results read neighbours. So is everything else, but for
copies from positions that follow a pattern of their own, such as a reflection or a repetition: to work those out in
vector registers, and take them apart again, takes twice as long as a scalar loop.
"""

from __future__ import annotations

import math
from functools import partial

from tvm import tirx
from tvm.s_tir import Schedule

from ...targets.target import FLOAT32_BITS, Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.rebuild import found

# Elements below which waking other cores costs more than they save.
PARALLEL_ELEMENTS = 1 << 16
# Vectors whose steps are taken in turn, and lines of memory that are read one after the other.
_IN_TURN = 4


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
    if not spatial:
        return
    elements = math.prod(blocks.extent(sch, loop) for loop in [*spatial, *reduction])
    vectorizes = _vectorizes(sch, block, spatial[-1], bool(reduction))
    bits = min(blocks.element_bits(sch, block), FLOAT32_BITS)
    if not reduction and len(spatial) > 1 and blocks.is_elementwise(sch, block):
        spatial = [sch.fuse(*spatial)]
    elif not reduction:
        spatial = _with_full_vectors(sch, block, spatial, target.lanes(bits))
    sch.reorder(*spatial, *reduction)
    registers = vectorize(sch, spatial[-1], target, bits, _registers(sch, block)) if vectorizes else []
    if registers and reduction:
        sch.reorder(*registers, *reduction, sch.get_loops(block)[len(spatial)])
    outer = [*spatial[:-1], *registers] if registers or not reduction else spatial
    if outer and target.cores > 1 and elements >= PARALLEL_ELEMENTS:
        parallelize(sch, outer)
    if reduction:
        sch.decompose_reduction(block, reduction[0])


def _vectorizes(sch: Schedule, block: Block, last: Loop, reduces: bool) -> bool:
    reads = blocks.reads_along(sch, block, blocks.depth(sch, block, last) - 1)
    if reduces:  # of one result: what decides between two pairs is not kept while both are written
        return reads.contiguous and len(sch.get(block).writes) == 1
    return not reads.irregular or blocks.calls_functions(sch, block)


def _with_full_vectors(sch: Schedule, block: Block, spatial: list[Loop], lanes: int) -> list[Loop]:
    """The loops with the last ones fused, while they are short, divide a vector, and write what is side by side."""
    last = len(spatial) - 1
    length = blocks.extent(sch, spatial[last])
    if blocks.write_step(sch, block, last) != 1:
        return spatial
    while last > 0 and length < lanes and lanes % length == 0 and blocks.write_step(sch, block, last - 1) == length:
        last -= 1
        length *= blocks.extent(sch, spatial[last])
    return [*spatial[:last], sch.fuse(*spatial[last:])] if last < len(spatial) - 1 else spatial


def _registers(sch: Schedule, block: Block) -> int:
    """The registers of a vector: what goes step by step in each lane waits for the step before."""
    return _IN_TURN if found(sch.get(block).body, tirx.For) else 1


def vectorize(sch: Schedule, loop: Loop, target: Target, bits: int = FLOAT32_BITS, registers: int = 1) -> list[Loop]:
    """Vectorizes a loop over elements of so many bits; vectors that it does not fill are cut when it is lowered.

    Args:
        registers: how many a vector takes.

    Returns:
        The loop over vectors, if there is one.
    """
    lanes = lanes_for(blocks.extent(sch, loop), target, bits // registers)
    if lanes == 1:
        return []
    vectors, lane = sch.split(loop, [None, lanes])
    sch.vectorize(lane)
    return [vectors]


def lanes_for(extent: int, target: Target, bits: int = FLOAT32_BITS) -> int:
    """The lanes of a vector for a loop: a register's, or the power of two that holds them all, if that is smaller."""
    return min(target.lanes(bits), 1 << (extent - 1).bit_length())


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

"""The plain schedule: any block, vectorized along its last axis and parallel over the others.

It serves element-wise and layout kernels, the stages of templates (padding, packing), and every workload that no
template takes. The loop nest:

    parallel (outer axes, registers)
        for reduction axes
            vectorized lanes            registers that are not full: see compiler/lowering/vector_borders.py

Reductions to one result are vectorized where neighbouring results read neighbours. So is everything else, but for
copies from positions that follow a pattern of their own, such as a reflection: to work those out in vector registers,
and take them apart again, takes twice as long as a scalar loop. A repetition that is the same in every vector is a
shuffle (`compiler/lowering/strided_loads.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from tvm import tirx
from tvm.s_tir import Schedule

from ...targets.target import FLOAT32_BITS, Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.rebuild import found
from .choices import Choice
from .sharing import thread_counts

TEMPLATE = "plain"
# Elements below which waking other cores costs more than they save.
PARALLEL_ELEMENTS = 1 << 16
# Vectors whose steps are taken in turn, and lines of memory that are read one after the other.
_IN_TURN = 4


@dataclass(frozen=True)
class Elements:
    """The work of a block.

    Attributes:
        axis: the extent of the axis that is vectorized.
        points: how often the block runs.
        bits: of an element; fewer where a vector should take several registers.
        fused: how many of the last axes are one.
        may_vectorize, should_vectorize: whether several elements may be computed at once, and whether it pays.
    """

    axis: int
    points: int
    bits: int
    fused: int
    may_vectorize: bool
    should_vectorize: bool


NOTHING = Elements(1, 1, FLOAT32_BITS, 1, False, False)  # the work of a block without axes


@dataclass(frozen=True)
class PlainChoice(Choice):
    """How many elements are computed at once, and how many threads share the rest at most."""

    lanes: int
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Blocks."""
    return isinstance(workload, Elements)


def space(workload: Elements, target: Target) -> Iterator[PlainChoice]:
    """All vectors up to a register."""
    most = lanes_for(workload.axis, target, workload.bits) if workload.may_vectorize else 1
    for lanes in (1 << power for power in range(most.bit_length())):
        for threads in thread_counts(target):
            yield PlainChoice(lanes, threads)


def default(workload: Elements, target: Target) -> PlainChoice:
    """Whole registers where they pay, and all cores where there is enough for them."""
    lanes = lanes_for(workload.axis, target, workload.bits) if workload.should_vectorize else 1
    return PlainChoice(lanes, target.cores if workload.points >= PARALLEL_ELEMENTS else 1)


def estimate(workload: Elements, choice: PlainChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, a vector each."""
    steps = workload.points / workload.axis * math.ceil(workload.axis / choice.lanes)
    return steps / choice.threads


def inline_all(sch: Schedule) -> Block:
    """Computes every element-wise block where it is read; returns the last block."""
    for block in blocks.child_blocks(sch)[:-1]:
        if not blocks.is_reduction(sch, block):
            blocks.try_primitive(partial(sch.compute_inline, block))
    return blocks.child_blocks(sch)[-1]


def schedule_kernel(sch: Schedule, choice: PlainChoice, target: Target) -> None:
    """Schedules a kernel without an anchor; the choice is the last block's, those before it have their defaults."""
    last = inline_all(sch)
    for block in blocks.child_blocks(sch)[:-1]:
        schedule_block(sch, block, target)
    work = elements_of(sch, last, target)
    if work is not None:
        _schedule(sch, last, work, choice)


def schedule_block(sch: Schedule, block: Block, target: Target) -> None:
    """Schedules one block that stands alone under the root, as its default is."""
    work = elements_of(sch, block, target)
    if work is not None:
        _schedule(sch, block, work, default(work, target))


def elements_of(sch: Schedule, block: Block, target: Target) -> Elements | None:
    """The work of a block that no schedule has touched; None where it has no axes."""
    spatial, reduction = _loops_by_kind(sch, block)
    if not spatial:
        return None
    extents = [blocks.extent(sch, loop) for loop in spatial]
    points = math.prod(extents) * math.prod(blocks.extent(sch, loop) for loop in reduction)
    bits = min(blocks.element_bits(sch, block), FLOAT32_BITS)
    lanes = lanes_for(extents[-1], target, bits)
    may, should = _vectorizes(sch, block, spatial[-1], lanes, bool(reduction))
    fused = 1
    if not reduction:
        elementwise = blocks.is_elementwise(sch, block)
        fused = len(spatial) if elementwise else _full_vectors(sch, block, extents, target.lanes(bits))
    return Elements(math.prod(extents[-fused:]), points, bits // _registers(sch, block), fused, may, should)


def _schedule(sch: Schedule, block: Block, work: Elements, choice: PlainChoice) -> None:
    spatial, reduction = _loops_by_kind(sch, block)
    if work.fused > 1:
        spatial = [*spatial[: -work.fused], sch.fuse(*spatial[-work.fused :])]
    sch.reorder(*spatial, *reduction)
    registers = _cut(sch, spatial[-1], choice.lanes)
    if registers and reduction:
        sch.reorder(*registers, *reduction, sch.get_loops(block)[len(spatial)])
    outer = [*spatial[:-1], *registers] if registers or not reduction else spatial
    if outer:
        parallelize(sch, outer, choice.threads)
    if reduction:
        sch.decompose_reduction(block, reduction[0])


def _vectorizes(sch: Schedule, block: Block, last: Loop, lanes: int, reduces: bool) -> tuple[bool, bool]:
    """Whether a block may be vectorized, and whether that pays."""
    reads = blocks.reads_along(sch, block, blocks.depth(sch, block, last) - 1, lanes)
    if reduces:  # of one result: what decides between two pairs is not kept while both are written
        may = len(sch.get(block).writes) == 1
        return may, may and reads.contiguous
    return True, not reads.irregular or blocks.calls_functions(sch, block)


def _full_vectors(sch: Schedule, block: Block, extents: list[int], lanes: int) -> int:
    """How many of the last axes are one: while they are short, divide a vector, and write what is side by side."""
    last, length = len(extents) - 1, extents[-1]
    if blocks.write_step(sch, block, last) != 1:
        return 1
    while last > 0 and length < lanes and lanes % length == 0 and blocks.write_step(sch, block, last - 1) == length:
        last -= 1
        length *= extents[last]
    return len(extents) - last


def _registers(sch: Schedule, block: Block) -> int:
    """The registers of a vector: what goes step by step in each lane waits for the step before."""
    return _IN_TURN if found(sch.get(block).body, tirx.For) else 1


def vectorize(sch: Schedule, loop: Loop, target: Target, bits: int = FLOAT32_BITS) -> list[Loop]:
    """Vectorizes a loop over elements of so many bits; vectors that it does not fill are cut when it is lowered.

    Returns:
        The loop over vectors, if there is one.
    """
    return _cut(sch, loop, lanes_for(blocks.extent(sch, loop), target, bits))


def _cut(sch: Schedule, loop: Loop, lanes: int) -> list[Loop]:
    if lanes == 1:
        return []
    vectors, lane = sch.split(loop, [None, lanes])
    sch.vectorize(lane)
    return [vectors]


def lanes_for(extent: int, target: Target, bits: int = FLOAT32_BITS) -> int:
    """The lanes of a vector for a loop: a register's, or the power of two that holds them all, if that is smaller."""
    return min(target.lanes(bits), 1 << (extent - 1).bit_length())


def parallelize(sch: Schedule, outer: list[Loop], threads: int) -> list[Loop]:
    """Spreads the outermost loops over so many threads, if they are several; returns the loops they became."""
    if threads == 1:
        return outer
    fused = sch.fuse(*outer) if len(outer) > 1 else outer[0]
    blocks.share(sch, fused, threads)
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

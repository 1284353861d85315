"""The plain schedule: any block, vectorized along its last axis and parallel over the others.

It serves element-wise and layout kernels, the stages of templates (padding, packing), and every workload that no
template takes. The loop nest:

    parallel (the outermost axes)       so many as there have to be for all threads
        for other axes, registers
            for reduction axes
                vectorized lanes        registers that are not full: see compiler/lowering/vector_borders.py

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

from ...annotations import SHARED, STAGE
from ...targets.target import FLOAT32_BITS, Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.rebuild import found
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "plain"
# Vectors whose steps are taken in turn, and lines of memory that are read one after the other.
_IN_TURN = 4
# Multiply-adds that a function takes (exp, tanh, GELU), and what finding one position alone takes.
FUNCTION_STEPS, _SCALAR_STEPS = 20, 6


@dataclass(frozen=True)
class Elements:
    """The work of a block.

    Attributes:
        outer: extents of the axes outside the one that is vectorized.
        axis: the extent of the axis that is vectorized.
        terms: that are reduced to one result; 0 where nothing is.
        bits: of an element; fewer where a vector should take several registers.
        fused: how many of the last axes are one.
        loads, functions: elements that are read for a point, and functions that are computed.
        may_vectorize, should_vectorize: whether several elements may be computed at once, and whether it pays.
    """

    outer: tuple[int, ...]
    axis: int
    terms: int
    bits: int
    fused: int
    loads: int
    functions: int
    may_vectorize: bool
    should_vectorize: bool

    def loops(self, lanes: int) -> tuple[int, ...]:
        """Extents of the loops that threads may share, the last over vectors of so many lanes."""
        if lanes > 1:
            return (*self.outer, math.ceil(self.axis / lanes))
        return (*self.outer, self.axis) if self.terms else self.outer


NOTHING = Elements((), 1, 0, FLOAT32_BITS, 1, 0, 0, False, False)  # the work of a block without axes


@dataclass(frozen=True)
class PlainChoice(Choice):
    """How many elements are computed at once, how many of the outer loops are one, and threads that share it at most.

    Loops that are one find their axes by divisions.
    """

    lanes: int
    loops: int = 1
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Blocks."""
    return isinstance(workload, Elements)


def space(workload: Elements, target: Target) -> Iterator[PlainChoice]:
    """All vectors up to a register, and all ways to share the loops outside of them."""
    most = lanes_for(workload.axis, target, workload.bits) if workload.may_vectorize else 1
    for lanes in (1 << power for power in range(most.bit_length())):
        yield PlainChoice(lanes)
        for loops in range(1, len(workload.loops(lanes)) + 1):
            for threads in thread_counts(target):
                if threads > 1:
                    yield PlainChoice(lanes, loops, threads)


def default(workload: Elements, target: Target) -> PlainChoice:
    """Whole registers where they pay; of the ways to share that the fewest cycles, of equals the fewest loops."""
    lanes = lanes_for(workload.axis, target, workload.bits) if workload.should_vectorize else 1
    choices = [PlainChoice(lanes)]
    for loops in range(1, len(workload.loops(lanes)) + 1):
        choice = PlainChoice(lanes, loops)
        iterations = math.prod(workload.loops(lanes)[:loops])
        threads = best_threads(_cycles(workload, choice, target), iterations, target)
        if threads > 1:
            choices.append(PlainChoice(lanes, loops, threads))
    return min(choices, key=lambda choice: estimate(workload, choice, target))


def estimate(workload: Elements, choice: PlainChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in L2."""
    iterations = math.prod(workload.loops(choice.lanes)[: choice.loops])
    return elapsed(_cycles(workload, choice, target), iterations, choice.threads, target)


def _cycles(workload: Elements, choice: PlainChoice, target: Target) -> float:
    """Estimated cycles of one core."""
    core, results = target.core, math.prod(workload.outer) * math.ceil(workload.axis / choice.lanes)
    steps = results * max(1, workload.terms)
    accesses = steps * workload.loads + results
    moved = accesses * choice.lanes * workload.bits / target.vector_bits / core.l2_vectors_per_cycle
    computed = steps * workload.functions * FUNCTION_STEPS / core.fmas_per_cycle + accesses / core.loads_per_cycle
    if choice.lanes == 1:
        computed += steps * _SCALAR_STEPS / core.fmas_per_cycle
    divisions = math.prod(workload.loops(choice.lanes)[: choice.loops]) * (choice.loops - 1)
    return max(moved, computed) + steps * core.step_overhead + divisions * core.fma_latency


def inline_all(sch: Schedule) -> Block:
    """Computes every element-wise block where it is read, but for shared ones; returns the last block."""
    for block in blocks.child_blocks(sch)[:-1]:
        if not blocks.is_reduction(sch, block) and STAGE.of(sch.get(block)) != SHARED:
            blocks.try_primitive(partial(sch.compute_inline, block))
    return blocks.child_blocks(sch)[-1]


def schedule_kernel(sch: Schedule, choice: PlainChoice, target: Target) -> None:
    """Schedules a kernel without an anchor; the choice is the last block's, those before it have defaults."""
    last = inline_all(sch)
    for block in blocks.child_blocks(sch)[:-1]:
        schedule_block(sch, block, choice.threads, target)
    work = elements_of(sch, last, target)
    if work is not None:
        _schedule(sch, last, work, choice)


def schedule_block(sch: Schedule, block: Block, threads: int, target: Target) -> None:
    """Schedules a block that stands beside what a kernel is built around: as `default` says for its work.

    A choice cannot name these blocks, paddings, packings and what could not be fused: fusion comes after it.

    Args:
        threads: that share the kernel at most.
    """
    work = elements_of(sch, block, target)
    if work is not None:
        _schedule(sch, block, work, default(work, target.with_cores(threads)))


def elements_of(sch: Schedule, block: Block, target: Target) -> Elements | None:
    """The work of a block that no schedule has touched; None where it has no axes."""
    spatial, reduction = loops_by_kind(sch, block)
    if not spatial:
        return None
    extents = [blocks.extent(sch, loop) for loop in spatial]
    bits = min(blocks.element_bits(sch, block), FLOAT32_BITS)
    lanes = lanes_for(extents[-1], target, bits)
    may, should = _vectorizes(sch, block, spatial[-1], lanes, bool(reduction))
    fused = 1
    if not reduction:
        elementwise = blocks.is_elementwise(sch, block)
        fused = len(spatial) if elementwise else _full_vectors(sch, block, extents, target.lanes())
    return Elements(
        outer=tuple(extents[:-fused]),
        axis=math.prod(extents[-fused:]),
        terms=math.prod(blocks.extent(sch, loop) for loop in reduction) if reduction else 0,
        bits=bits // _registers(sch, block),
        fused=fused,
        loads=blocks.load_count(sch, block),
        functions=blocks.function_count(sch, block),
        may_vectorize=may,
        should_vectorize=should,
    )


def _schedule(sch: Schedule, block: Block, work: Elements, choice: PlainChoice) -> None:
    spatial, reduction = loops_by_kind(sch, block)
    if work.fused > 1:
        spatial = [*spatial[: -work.fused], sch.fuse(*spatial[-work.fused :])]
    sch.reorder(*spatial, *reduction)
    registers = _cut(sch, spatial[-1], choice.lanes)
    if registers and reduction:
        sch.reorder(*registers, *reduction, sch.get_loops(block)[len(spatial)])
    outer = [*spatial[:-1], *registers] if registers or not reduction else spatial
    if outer:
        parallelize(sch, outer[: choice.loops], choice.threads)
    if reduction:
        sch.decompose_reduction(block, reduction[0])


def _vectorizes(sch: Schedule, block: Block, last: Loop, lanes: int, reduces: bool) -> tuple[bool, bool]:
    """Whether a block may be vectorized, and whether that pays."""
    if found(sch.get(block).body, tirx.While):  # every point turns as often as it has to
        return False, False
    reads = blocks.reads_along(sch, block, blocks.depth(sch, block, last) - 1, lanes)
    if reduces:  # of one result: what decides between two pairs is not kept while both are written
        may = len(sch.get(block).writes) == 1
        return may, may and reads.contiguous
    return True, not reads.irregular or blocks.function_count(sch, block) > 0


def _full_vectors(sch: Schedule, block: Block, extents: list[int], lanes: int) -> int:
    """How many of the last axes are one: while they are short, divide a vector, and write what is side by side.

    A vector is one of floats: as many bytes are loaded and stored at once all the same, and lie within fewer rows.
    """
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


def loops_by_kind(sch: Schedule, block: Block) -> tuple[list[Loop], list[Loop]]:
    """The spatial and the reduction loops of a block that no schedule has touched: one loop an iteration variable."""
    loops = list(sch.get_loops(block))
    kinds = [int(var.iter_type) for var in sch.get(block).iter_vars]
    if len(kinds) != len(loops):
        return [], []
    return (
        [loop for loop, kind in zip(loops, kinds, strict=True) if kind == blocks.DATA_PARALLEL],
        [loop for loop, kind in zip(loops, kinds, strict=True) if kind == blocks.REDUCTION],
    )

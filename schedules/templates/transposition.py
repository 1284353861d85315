"""Transpositions: kernels that read side by side along one axis and write side by side along another.

What moves is seen from the kernel's index expressions: a transpose, alone or fused with element-wise work, with a
concatenation before it or a reshape around it. The loop nest, with `rows` that lie side by side in what is read and
`columns` that lie side by side in what is written:

    parallel (other axes, runs of rows, squares along the columns)
        for squares of a run
            for column in lanes:  for row in vectorized lanes:     result[row, column] = f(source[column, row])

`compiler/lowering/squares.py` reads a square by whole vectors along the rows, transposes it in registers, and writes it
by whole vectors along the columns. Squares that lie across a border are done element by element. A run is as long as
its rows, of which each square writes a part, stay in the L1 cache until the squares beside them are written; the longer
it is, the more is read in a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import tvm
from tvm import tirx
from tvm.ir import TensorLoad
from tvm.s_tir import Schedule

from ...annotations import SQUARE
from ...ir_types import Analyzer, Buffer, Load, Scalar, Stmt, Var
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.expressions import flatten
from ..tensorir.rebuild import found, substituted
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "transposition"

_FEWEST_LANES, _MOST_LANES = 4, 16
_OF_THE_CACHE = 0.75  # the rest is for what is read
# Cycles of an element that is moved alone, and of a vector that is loaded, stored or shuffled.
_ELEMENT_CYCLES, _VECTOR_CYCLES = 2.0, 1.0
# Elements that are no bytes, which vectors do not move: bool, and what is packed.
_UNMOVED = ("bool",)


@dataclass(frozen=True)
class Squares:
    """The work of a block.

    Attributes:
        rows: the extent of the axis that is read side by side.
        columns: the extent of the one that is written side by side.
        others: how many such pictures there are.
        stride: elements of the result from one row to the next.
        bits: of an element.
    """

    rows: int
    columns: int
    others: int
    stride: int
    bits: int


@dataclass(frozen=True)
class SquaresChoice(Choice):
    """Squares of so many lanes, so many of them along the rows before the next columns; so many threads at most."""

    lanes: int
    run: int
    threads: int = 1


@dataclass(frozen=True)
class _Axes:
    """Which axes of a block, all neighbours, are the rows and which are the columns."""

    rows: range
    columns: range
    extents: tuple[int, ...]
    stride: int


def takes(workload: object, target: Target) -> bool:
    """Squares."""
    return isinstance(workload, Squares)


def space(workload: Squares, target: Target) -> Iterator[SquaresChoice]:
    """All squares that registers hold."""
    for lanes in _lane_counts(workload.rows, workload.columns, workload.bits, target):
        for run in sorted({1, _cached_run(workload, lanes, target), math.ceil(workload.rows / lanes)}):
            for threads in thread_counts(target):
                yield SquaresChoice(lanes, run, threads)


def _lane_counts(rows: int, columns: int, bits: int, target: Target) -> list[int]:
    most = min(rows, columns, _MOST_LANES, target.lanes(bits))
    return [lanes for lanes in (4, 8, _MOST_LANES) if lanes <= most]


def default(workload: Squares, target: Target) -> SquaresChoice:
    """The squares of the fewest cycles, and the longest runs of which the cache holds what they write."""
    counts = _lane_counts(workload.rows, workload.columns, workload.bits, target)
    lanes = min(counts, key=lambda lanes: (_cycles(workload, lanes), -lanes))
    choice = SquaresChoice(lanes, _cached_run(workload, lanes, target))
    threads = best_threads(_cycles(workload, lanes), _tasks(workload, choice), target)
    return replace(choice, threads=threads)


def _cached_run(workload: Squares, lanes: int, target: Target) -> int:
    """Squares along the rows whose lines the L1 cache holds: of those a multiple of a page apart it holds few."""
    stride = workload.stride * workload.bits // 8
    lines = target.l1_bytes // max(math.gcd(stride, target.core.l1_way_bytes), target.core.line_bytes)
    return max(1, min(int(lines * _OF_THE_CACHE) // lanes, math.ceil(workload.rows / lanes)))


def estimate(workload: Squares, choice: SquaresChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in the caches."""
    return elapsed(_cycles(workload, choice.lanes), _tasks(workload, choice), choice.threads, target)


def _tasks(workload: Squares, choice: SquaresChoice) -> int:
    runs = math.ceil(math.ceil(workload.rows / choice.lanes) / choice.run)
    return workload.others * runs * math.ceil(workload.columns / choice.lanes)


def _cycles(workload: Squares, lanes: int) -> float:
    rows, columns = workload.rows // lanes * lanes, workload.columns // lanes * lanes
    square = lanes * (2 + math.log2(lanes)) * _VECTOR_CYCLES
    alone = workload.rows * workload.columns - rows * columns
    return workload.others * (rows * columns / lanes**2 * square + alone * _ELEMENT_CYCLES)


def squares_of(sch: Schedule, block: Block, target: Target) -> Squares | None:
    """The work of a block that no schedule has touched; None where it is no transposition, or a narrow one."""
    axes = _axes(sch, block)
    if axes is None:
        return None
    bits = blocks.element_bits(sch, block)
    rows, columns = (math.prod(axes.extents[axis] for axis in each) for each in (axes.rows, axes.columns))
    if not _lane_counts(rows, columns, bits, target):
        return None
    return Squares(rows, columns, math.prod(axes.extents) // (rows * columns), axes.stride, bits)


def schedule_kernel(sch: Schedule, choice: SquaresChoice, target: Target) -> None:
    """Schedules a kernel of one block."""
    schedule_block(sch, blocks.child_blocks(sch)[-1], choice)


def schedule_stage(sch: Schedule, block: Block, threads: int, target: Target) -> None:
    """`plain.schedule_block`, of blocks some of which are transpositions: these have the default of their own work."""
    work = squares_of(sch, block, target)
    if work is None:
        plain.schedule_block(sch, block, threads, target)
    else:
        schedule_block(sch, block, default(work, target.with_cores(threads)))


def schedule_stage_inside(sch: Schedule, block: Block, loop: Loop, target: Target) -> None:
    """Computes a block that stands alone under the root for each iteration of a loop that its readers are in."""
    work, axes, elements = squares_of(sch, block, target), _axes(sch, block), plain.elements_of(sch, block, target)
    sch.compute_at(block, loop, preserve_unit_loops=True)
    loops = list(sch.get_loops(block))[blocks.depth(sch, block, loop) :]
    if work is not None and axes is not None:
        _schedule(sch, loops, axes, default(work, target.with_cores(1)))
    elif elements is not None and elements.should_vectorize:
        plain.vectorize(sch, loops[-1], target)


def schedule_block(sch: Schedule, block: Block, choice: SquaresChoice) -> None:
    """Schedules one block that is a transposition."""
    axes = _axes(sch, block)
    assert axes is not None
    _schedule(sch, list(sch.get_loops(block)), axes, choice)


def _schedule(sch: Schedule, loops: list[Loop], axes: _Axes, choice: SquaresChoice) -> None:
    """Cuts the loops over the axes of a block into squares."""
    rows, columns = (
        sch.fuse(*(loops[axis] for axis in each)) if len(each) > 1 else loops[each[0]]
        for each in (axes.rows, axes.columns)
    )
    others = [loop for axis, loop in enumerate(loops) if axis not in axes.rows and axis not in axes.columns]
    row_blocks, row = sch.split(rows, [None, choice.lanes])
    column_blocks, column = sch.split(columns, [None, choice.lanes])
    runs, within = sch.split(row_blocks, [None, min(choice.run, blocks.extent(sch, row_blocks))])
    sch.reorder(*others, runs, column_blocks, within, column, row)
    sch.annotate(column, SQUARE.name, choice.lanes)
    if choice.threads > 1:
        blocks.share(sch, sch.fuse(*others, runs, column_blocks), choice.threads)


def _axes(sch: Schedule, block: Block) -> _Axes | None:
    """The rows and the columns of a block, if it is a transposition."""
    body = sch.get(block)
    store = body.body
    variables = [each.var for each in body.iter_vars]
    kinds = {int(each.iter_type) for each in body.iter_vars}
    if not isinstance(store, tirx.BufferStore) or kinds != {blocks.DATA_PARALLEL} or len(variables) < 2:
        return None
    if str(store.buffer.dtype) in _UNMOVED or len(sch.get_loops(block)) != len(variables):
        return None
    extents = tuple(int(each.dom.extent) for each in body.iter_vars)
    analyzer = tvm.sym.Analyzer()
    for each in body.iter_vars:
        analyzer.bind(each.var, each.dom)
    written = _steps(list(store.indices), store.buffer, variables, analyzer)
    loads = found(store.value, TensorLoad)
    reads = [_steps(list(load.indices), load.source, variables, analyzer) for load in loads]
    last = len(variables) - 1
    while last >= 0 and extents[last] == 1:
        last -= 1
    if last < 1 or written[last] != 1 or None in written:
        return None
    # Axes that stand in nothing but positions of constant steps may be one with their neighbours.
    plain = [
        all(read[axis] is not None for read in reads) and not _stands_alone(variables[axis], store, loads)
        for axis in range(len(variables))
    ]

    def as_one(first: int, end: int) -> int:
        """The first of the axes that are one with those up to `end`."""
        while first > 0 and plain[first] and plain[first - 1]:
            length = math.prod(extents[first:end])
            steps = [(each[first - 1], each[end - 1]) for each in (written, *reads)]
            if any(outer != length * inner for outer, inner in steps if outer is not None and inner is not None):
                break
            first -= 1
        return first

    columns = range(as_one(last, last + 1), last + 1)
    across = [read for read in reads if read[last] not in (0, 1)]
    for end in range(columns.start, 0, -1):
        steps = {read[end - 1] for read in reads}
        if extents[end - 1] > 1 and steps <= {0, 1} and any(read[end - 1] == 1 for read in across):
            return _Axes(range(as_one(end - 1, end), end), columns, extents, written[end - 1] or 1)
    return None


def _steps(indices: Sequence[Scalar], buffer: Buffer, variables: Sequence[Var], analyzer: Analyzer) -> list[int | None]:
    """How far a position moves with each variable, where that is constant."""
    extents = buffer.shape if hasattr(buffer, "shape") else buffer.ty.shape
    position = flatten(indices, [int(extent) for extent in extents])
    steps: list[int | None] = []
    for variable in variables:
        step = analyzer.simplify(substituted(position, {variable: variable + 1}) - position)
        steps.append(int(step) if isinstance(step, tirx.IntImm) else None)
    return steps


def _stands_alone(variable: Var, store: Stmt, loads: Sequence[Load]) -> bool:
    """Whether a variable stands anywhere in a value but in the positions of its loads."""
    uses = sum(each.same_as(variable) for each in found(store.value, tirx.Var))
    positions = sum(
        each.same_as(variable) for load in loads for index in load.indices for each in found(index, tirx.Var)
    )
    return bool(uses > positions)

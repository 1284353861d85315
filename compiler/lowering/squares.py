"""Squares of a transposition, in registers: their schedule (`schedules/templates/transposition.py`) marks the loops.

    for column in 8:                                    if the whole square is inside the borders:
        for row in 8:                                       for column in unrolled(8):  for row in vectorized(8):
            if it is inside the borders:        ->              square[column, row] = f(source[column, row])
                result[row, column] = f(...)                vectors = transposed(square)
                                                            for row:  result[row, 0:8] = vectors[row]
                                                        else: the loops as they were, cut where the borders are

Vectors are transposed by shuffles of two each. Blocks of 16 bytes change places first: a shuffle that moves nothing
across such a block is the fastest that there is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import DataType, tirx

from ...annotations import SQUARE, without
from ...schedules.tensorir.rebuild import mentions, substituted, with_body

_BLOCK_BITS = 128


@dataclass(frozen=True)
class _Square:
    """The two loops, what they store, and the conditions under which they do."""

    column: Any
    row: Any
    store: Any
    conditions: tuple[Any, ...]
    lanes: int


def transpose_squares(function: Any) -> Any:
    """Rewrites the marked loops of a function whose buffers are flat; those of another form are left alone."""

    def transposed(loop: Any) -> Any:
        if not SQUARE.of(loop):
            return loop
        loop = with_body(loop, loop.body, annotations=without(loop.annotations, SQUARE))
        square = _square(loop)
        return loop if square is None else _in_registers(square)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, transposed)))


def _square(column: Any) -> _Square | None:
    conditions: list[Any] = []
    loops, body = [column], column.body
    while not isinstance(body, tirx.BufferStore):
        if isinstance(body, tirx.For) and len(loops) == 1:
            loops.append(body)
            body = body.body
        elif isinstance(body, tirx.IfThenElse) and body.else_case is None:
            conditions += _conjuncts(body.condition)
            body = body.then_case
        else:
            return None
    row = loops[-1]
    lanes = int(column.extent)
    variables = [column.loop_var, row.loop_var]
    index = body.indices[0]
    step = tvm.sym.Analyzer().simplify(substituted(index, {column.loop_var: column.loop_var + 1}) - index)
    if not isinstance(step, tirx.IntImm) or int(step) != 1:
        return None
    if len(loops) != 2 or int(row.extent) != lanes or not all(_is_upper(each, variables) for each in conditions):
        return None
    return _Square(column, row, body, tuple(conditions), lanes)


def _conjuncts(condition: Any) -> list[Any]:
    return [*_conjuncts(condition.a), *_conjuncts(condition.b)] if isinstance(condition, tirx.And) else [condition]


def _is_upper(condition: Any, variables: Sequence[Any]) -> bool:
    """Whether a condition, once it fails, fails for whatever comes later: the border of a loop that was cut."""
    return isinstance(condition, tirx.LT) and isinstance(condition.b, tirx.IntImm) and _rises(condition.a, variables)


def _rises(index: Any, variables: Sequence[Any]) -> bool:
    if isinstance(index, tirx.Add):
        return _rises(index.a, variables) and _rises(index.b, variables)
    return any(index.same_as(each) for each in variables) or not mentions(index, variables)


def _in_registers(square: _Square) -> Any:
    whole = _whole(square)
    if not square.conditions:
        return whole
    last = tirx.IntImm(str(square.row.loop_var.ty.dtype), square.lanes - 1)
    corner = {square.row.loop_var: last, square.column.loop_var: last}
    inside = tirx.all(*(substituted(condition, corner) for condition in square.conditions))
    return tirx.IfThenElse(inside, whole, _cut(square))


def _whole(square: _Square) -> Any:
    lanes, dtype, kind = square.lanes, str(square.store.buffer.dtype), str(square.row.loop_var.ty.dtype)

    def at(value: int) -> Any:
        return tirx.IntImm(kind, value)

    tile = tirx.decl_buffer([at(lanes * lanes)], dtype, "square", scope="local")
    place = square.column.loop_var * at(lanes) + square.row.loop_var
    read = with_body(square.row, tirx.BufferStore(tile, square.store.value, [place]), kind=tirx.ForKind.VECTORIZED)
    statements = [tirx.AllocBuffer(tile), with_body(square.column, read, kind=tirx.ForKind.UNROLLED)]

    def bound(value: Any) -> Any:
        variable = tirx.Var("vector", value.ty)
        statements.append(tirx.Bind(variable, value))
        return variable

    vectors = [bound(tirx.BufferLoad(tile, [tirx.Ramp(at(line * lanes), at(1), lanes)])) for line in range(lanes)]
    for stage in network(lanes, int(DataType(dtype).bits)):
        vectors = [
            bound(tirx.Shuffle([vectors[each.left], vectors[each.right]], [tirx.const(pick) for pick in each.picks]))
            for each in stage
        ]
    for row, vector in enumerate(vectors):
        start = substituted(square.store.indices[0], {square.row.loop_var: at(row), square.column.loop_var: at(0)})
        statements.append(tirx.BufferStore(square.store.buffer, vector, [tirx.Ramp(start, at(1), lanes)]))
    return tirx.SeqStmt(statements)


def _cut(square: _Square) -> Any:
    """The loops as they were, each as far as the borders: variables of other bounds are others."""
    loops = (square.row, square.column)
    twins = {loop.loop_var: tirx.Var(loop.loop_var.name, loop.loop_var.ty) for loop in loops}
    limits = {loop.loop_var: [loop.extent] for loop in loops}
    left = []
    for condition in square.conditions:
        used = [loop for loop in loops if mentions(condition.a, [loop.loop_var])]
        if len(used) == 1:
            (variable,) = (loop.loop_var for loop in used)
            start = substituted(condition.a, {variable: tirx.IntImm(str(variable.ty.dtype), 0)})
            limits[variable].append(condition.b - start)
        else:
            left.append(condition)
    body = tirx.IfThenElse(tirx.all(*left), square.store, None) if left else square.store
    body = substituted(body, twins)
    for loop in loops:
        extent = functools.reduce(tirx.min, limits[loop.loop_var])
        body = tirx.For(twins[loop.loop_var], loop.min, extent, tirx.ForKind.SERIAL, body)
    return body


@dataclass(frozen=True)
class Shuffle:
    """A vector of elements of two others: those of the second are counted on from the lanes of the first."""

    left: int
    right: int
    picks: tuple[int, ...]


def network(lanes: int, bits: int) -> Iterator[list[Shuffle]]:
    """The stages that transpose as many vectors as one has lanes, elements of so many bits: a shuffle for each."""
    block = min(lanes, _BLOCK_BITS // bits)
    distance = lanes // 2
    while distance >= block:  # blocks at this distance change places
        yield [_exchange(line, distance, lanes) for line in range(lanes)]
        distance //= 2
    for _ in range(block.bit_length() - 1):  # inside of blocks, lines are shuffled like cards
        yield [_interleave(line, block, lanes) for line in range(lanes)]


def _exchange(line: int, distance: int, lanes: int) -> Shuffle:
    first = line & ~distance
    if line == first:
        picks = tuple(lanes + lane - distance if lane & distance else lane for lane in range(lanes))
    else:
        picks = tuple(lanes + lane if lane & distance else lane + distance for lane in range(lanes))
    return Shuffle(first, first + distance, picks)


def _interleave(line: int, block: int, lanes: int) -> Shuffle:
    group, place = line // block * block, line % block
    start = place % 2 * (block // 2)
    picks = tuple(
        side * lanes + first + start + lane
        for first in range(0, lanes, block)
        for lane in range(block // 2)
        for side in (0, 1)
    )
    return Shuffle(group + place // 2, group + place // 2 + block // 2, picks)

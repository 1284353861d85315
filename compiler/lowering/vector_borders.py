"""Vectorized loops that cross a border: whole vectors where the border is elsewhere, shorter ones on its two sides.

A condition such as ``i * 8 + lane < 28`` (the end of a row, the edge of a padding, the part of a concatenation) flips
between two lanes of one vector at most. TVM takes a vector apart, lane by lane, when a condition in it depends on the
lane. Here

- where a border lies at a multiple of the lanes, the condition is made independent of the lane: ``i * 8 < 24``;
- where it lies inside a vector, at the same lane for every vector that it can meet, the loop becomes

      if no border is inside: the loop as it was, conditions decided by its first lane
      else: for each stretch of lanes between borders, in vectors of falling powers of two: the same

so that every vector that is left is full, and nothing depends on LLVM to find vectors. Conditions of another form are
left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx

from ...ir_types import For, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import found, mentions, substituted, with_body

_COMPARISONS = (tirx.LE, tirx.LT, tirx.GE, tirx.GT)
# A concatenation of many short parts is better left to loops than written out piece by piece.
_MAX_BORDERS = 8


@dataclass(frozen=True)
class _Border:
    """Where a comparison flips: before lane `position`, in the vectors for which `inside` holds.

    Attributes:
        rises: whether it holds from `position` on, rather than up to there.
    """

    comparison: Scalar
    position: int
    inside: Scalar
    rises: bool


def cut_at_borders(function: PrimFunc) -> PrimFunc:
    """Rewrites the vectorized loops of a function."""
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _cut_loop)))


def _cut_loop(loop: For) -> Stmt:
    if loop.kind != tirx.ForKind.VECTORIZED:
        return loop
    borders = _borders(loop)
    positions = sorted({border.position for border in borders} - {0})
    if len(positions) > _MAX_BORDERS:
        positions = []
        borders = [border for border in borders if border.position == 0]
    first = {loop.loop_var: tirx.IntImm(str(loop.loop_var.ty.dtype), 0)}
    whole = with_body(loop, _decided(loop.body, borders, lambda border: substituted(border.comparison, first)))
    if not positions:
        return whole if borders else loop
    insides = _distinct([border.inside for border in borders if border.position])
    pieces = [
        _piece(loop, borders, start, length, known=len(insides) == 1)
        for begin, end in zip([0, *positions], [*positions, int(loop.extent)], strict=True)
        for start, length in _powers_of_two(begin, end)
    ]
    return tirx.IfThenElse(tirx.Not(tirx.any(*insides)), whole, tirx.SeqStmt(pieces))


def _borders(loop: For) -> list[_Border]:
    """The borders of comparisons of integers that compare the lane, once, with something that it does not change."""
    lane, lanes = loop.loop_var, int(loop.extent)
    analyzer = tvm.sym.Analyzer()
    inner = _defined_in(loop.body)
    zero = tirx.IntImm(str(lane.ty.dtype), 0)
    borders: list[_Border] = []

    def note(comparison: Scalar) -> None:
        # All four say: `distance` is below 0.
        less, more = comparison.a, comparison.b
        if isinstance(comparison, (tirx.GE, tirx.GT)):
            less, more = more, less
        if not _is_integer(less):
            return
        distance = less - more if isinstance(comparison, (tirx.LT, tirx.GT)) else less - more - 1
        start = analyzer.simplify(substituted(distance, {lane: zero}))
        if mentions(start, inner):
            return
        if analyzer.can_prove_equal(distance, start + lane):
            first, rises = -start, False  # the first lane for which it does not hold
        elif analyzer.can_prove_equal(distance, start - lane):
            first, rises = start + 1, True  # the first lane for which it holds
        else:
            return
        multiple = analyzer.modular_set(first)
        if int(multiple.coeff) % lanes:
            return
        position = int(multiple.base) % lanes
        borders.append(_Border(comparison, position, analyzer.simplify(first) == position, rises))

    tvm_ffi.structural_walk(loop.body, [(kind, note) for kind in _COMPARISONS])
    return borders


def _defined_in(body: Stmt) -> list[Scalar]:
    names = [node.var for kind in (tirx.Let, tirx.Bind) for node in found(body, kind)]
    return [*(loop.loop_var for loop in found(body, tirx.For)), *names]


def _is_integer(expression: Scalar) -> bool:
    kind = expression.ty
    return isinstance(kind, tvm.ir.PrimType) and str(kind.dtype) in ("int32", "int64")


def _decided(body: Stmt, borders: Sequence[_Border], decision: Callable[[_Border], Scalar]) -> Stmt:
    """`body` with the decision on every border in the place of its comparison."""

    def decide(comparison: Scalar) -> Scalar:
        known = next((border for border in borders if border.comparison.same_as(comparison)), None)
        return comparison if known is None else decision(known)

    return tvm_ffi.structural_map(body, [(kind, decide) for kind in _COMPARISONS])


def _piece(loop: For, borders: Sequence[_Border], start: int, length: int, *, known: bool) -> Stmt:
    """The lanes from `start` on, `length` of them, between which there is no border.

    Args:
        known: whether the vector is surely one that all borders inside vectors are in.
    """
    old, kind = loop.loop_var, str(loop.loop_var.ty.dtype)
    first = tirx.IntImm(kind, start)

    def decision(border: _Border) -> Scalar:
        if known and border.position:
            return tirx.const((start >= border.position) == border.rises, "bool")
        return substituted(border.comparison, {old: first})

    body = _decided(loop.body, borders, decision)
    if length == 1:
        return substituted(body, {old: first})
    lane = tirx.Var(old.name, old.ty)
    body = substituted(body, {old: lane + first if start else lane})
    zero, extent = tirx.IntImm(kind, 0), tirx.IntImm(kind, length)
    return tirx.For(lane, zero, extent, tirx.ForKind.VECTORIZED, body, None, dict(loop.annotations))


def _powers_of_two(begin: int, end: int) -> list[tuple[int, int]]:
    """``[begin, end)`` in stretches of falling powers of two: (start, length) each."""
    stretches = []
    while begin < end:
        length = 1 << ((end - begin).bit_length() - 1)
        stretches.append((begin, length))
        begin += length
    return stretches


def _distinct(conditions: Sequence[Scalar]) -> list[Scalar]:
    kept: list[Scalar] = []
    for condition in conditions:
        if not any(tvm_ffi.structural_equal(condition, other) for other in kept):
            kept.append(condition)
    return kept

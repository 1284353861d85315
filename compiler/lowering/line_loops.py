"""Tiles of lines of which the beginnings alone are there: a loop over lines, in each from the first tile on.

    for t in 100:                                          for line in ...:
        if any(position % 80 < W of t * 4 ... + 3):   ->       for t in first tile of the line .. last that is there:
            ...                                                    ...

Tiles may lie across the end of a line. Asking each of them takes longer than the work of a small image. The bounds are
a condition on the loop's own variable (`BOUNDED`) until buffers are flat: TVM's FlattenBuffer knows loops that begin at
0 alone; `bound_loops` then makes bounds of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import tvm
import tvm_ffi
from tvm import tirx

from ...annotations import BOUNDED
from ...ir_types import Analyzer, For, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import mentions, substituted
from .before_end import BeforeEnd


def by_lines(loop: For, needed: BeforeEnd, stops: Sequence[BeforeEnd] = ()) -> Stmt | None:
    """The loop in a loop over lines, where a condition is on positions in lines; None of any other.

    Args:
        loop: it begins at 0; its extent may be shorter already.
        needed: without which an iteration does nothing.
        stops: conditions that the extent holds to.
    """
    zero = tirx.IntImm("int64", 0)
    step = _step(needed, loop)
    if not needed.bound or step is None or loop.kind != tirx.ForKind.SERIAL or str(loop.loop_var.ty.dtype) != "int64":
        return None
    analyzer = tvm.sym.Analyzer()
    begins = analyzer.simplify(substituted(needed.place, {loop.loop_var: zero}))
    end = tirx.min(needed.end.astype("int64"), number(needed.bound))  # more may be asked for than there is of a line
    skipped = tirx.floormod(begins, number(needed.bound))  # of the first line
    lines = tirx.floordiv(skipped + (loop.extent - 1) * step + needed.span, number(needed.bound)) + 1
    for stop in (_end_of_line(each, step, begins, needed.bound, analyzer) for each in stops):
        if stop is not None:  # what the last tile has of the next line is not needed
            lines = tirx.min(lines, tirx.floordiv(skipped + stop, number(needed.bound)))
    line = tirx.Var(f"{loop.loop_var.name}_line", "int64")
    at = line * needed.bound - skipped  # where the line begins, from the first tile
    before = _quotient(at - needed.bound + end - 1 + step, step)  # behind the last tile that the line before has read
    first = tirx.max(_quotient(at - needed.span + step - 1, step), before)
    last = _quotient(at + end - 1 + step, step)
    inside = tirx.all(loop.loop_var >= analyzer.simplify(first), loop.loop_var < analyzer.simplify(last))
    tiles = tirx.For(
        loop.loop_var,
        loop.min,
        loop.extent,
        loop.kind,
        tirx.IfThenElse(inside, loop.body, None),
        None,
        BOUNDED.entry(1),
    )
    return tirx.For(line, zero, analyzer.simplify(lines), tirx.ForKind.SERIAL, tiles)


def bound_loops(function: PrimFunc) -> PrimFunc:
    """The function with loops from their bounds on, and up to them, where conditions say so."""

    def bounded(loop: For) -> Stmt:
        if not BOUNDED.of(loop):
            return loop
        first, last = loop.body.condition.a.b, loop.body.condition.b.b
        first = tirx.max(tirx.min(first, loop.extent), number(0))  # what is known to be small is counted in 32 bits
        extent = tirx.max(tirx.min(last, loop.extent) - first, number(0))
        return tirx.For(loop.loop_var, first, extent, loop.kind, loop.body.then_case, None, {})

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, bounded)))


def _end_of_line(stop: BeforeEnd, step: int, begins: Scalar, line: int, analyzer: Analyzer) -> Scalar | None:
    """Where a loop over tiles stops, from the first one, if that is where a line ends."""
    by, end = stop.multiple or (1, stop.end)
    known = analyzer.modular_set(analyzer.simplify(end + begins))
    return end if by == step and known.coeff % line == 0 and known.base % line == 0 else None


def number(value: int) -> Scalar:
    """An int64."""
    return tirx.IntImm("int64", value)


def _quotient(place: Scalar, step: int) -> Scalar:
    """A quotient, 0 of what is negative."""
    return tirx.floordiv(tirx.max(place, number(0)), number(step))


def _step(needed: BeforeEnd, loop: For) -> int | None:
    """How far the place moves from one iteration to the next, if always as far."""
    variable = loop.loop_var
    moved = tvm.sym.Analyzer().simplify(substituted(needed.place, {variable: variable + 1}) - needed.place)
    if not isinstance(moved, tirx.IntImm) or int(moved) < 1 or mentions(needed.end, [variable]):
        return None
    return int(moved)

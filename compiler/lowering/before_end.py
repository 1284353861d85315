"""When a position lies before an end that is known only when a library runs, and which iterations of a loop have such.

The condition is `place % bound < end`, or `place < end` where the bound is 0. Positions of loops over tiles are
quotients, remainders and multiples of their variables: they are taken apart until the variable stands alone, if they
can be.

    (i * 4 + j) // 80 < H       i * 4 + j < H * 80          of all j: i * 4 < H * 80,  so i < (H * 80 + 3) // 4
    (i * 4 + j) % 80 < W        of all j: i * 4 % 80 < W, or the four go on into the next line
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import tvm
import tvm_ffi
from tvm import tirx

from ...ir_types import Analyzer, For, Scalar, Var
from ...schedules.tensorir.rebuild import mentions, substituted


@dataclass(frozen=True)
class Row:
    """Where a tensor ends along an axis: what is at (position - begin) // step % bound is there before `size`.

    Without remainder where the bound is 0.
    """

    axis: int
    begin: int
    step: int
    bound: int
    size: Scalar

    def of(self, indices: Sequence[Scalar]) -> BeforeEnd | None:
        """The condition on an access; None of vectors along the axis."""
        index = indices[self.axis]
        if isinstance(index, tirx.Ramp):
            return None
        place = index - _like(self.begin, index) if self.begin else index
        if self.step > 1:
            place = tirx.floordiv(place, _like(self.step, place))
        return BeforeEnd(place, self.bound, self.size)


@dataclass(frozen=True)
class BeforeEnd:
    """`place % bound < end`, for a place or one of the `span` next ones.

    `multiple`: a number and an end such that `place * number < end`, where that is what is known.
    """

    place: Scalar
    bound: int
    end: Scalar
    span: int = 0
    multiple: tuple[int, Scalar] | None = None

    def condition(self) -> Scalar:
        """As an expression."""
        end = self.end.astype(str(self.place.ty.dtype)) if self.end.ty.dtype != self.place.ty.dtype else self.end
        if not self.bound:
            return self.place < end
        rest = tirx.floormod(self.place, _like(self.bound, self.place))
        before = rest < end
        if not self.span:
            return before
        return tirx.any(before, rest >= _like(self.bound - self.span, rest))

    def same(self, other: BeforeEnd) -> bool:
        """Whether it is the same condition."""
        return self.alike(other) and self.span == other.span and _equal(self.place, other.place)

    def alike(self, other: BeforeEnd) -> bool:
        """Whether it is the same for places that differ."""
        return self.bound == other.bound and _equal(self.end, other.end)


def apart(of: BeforeEnd, variable: Var | None = None) -> BeforeEnd:
    """The same condition on a simpler place; what does not depend on a variable goes to the other side."""
    while True:
        place, bound, end = of.place, of.bound, of.end
        number = _number(place.b) if isinstance(place, tirx.FloorDiv | tirx.FloorMod | tirx.Mul | tirx.Add) else None
        if isinstance(place, tirx.FloorDiv) and number:
            of = BeforeEnd(place.a, bound * number, end * tirx.IntImm("int64", number))
        elif isinstance(place, tirx.FloorMod) and number and (not bound or bound % number == 0):
            of = BeforeEnd(place.a, number, end)
        elif isinstance(place, tirx.FloorMod) and number and number % bound == 0:
            of = BeforeEnd(place.a, bound, end)
        elif isinstance(place, tirx.Mul) and number and bound % number == 0:
            factor = tirx.IntImm("int64", number)
            of = BeforeEnd(place.a, bound // number, tirx.floordiv(end + (factor - 1), factor), multiple=(number, end))
        elif variable is not None and not bound and isinstance(place, tirx.Add | tirx.Sub):
            if not mentions(place.b, [variable]):
                less = isinstance(place, tirx.Add)
                of = BeforeEnd(place.a, 0, end - _wide(place.b) if less else end + _wide(place.b))
            elif isinstance(place, tirx.Add) and not mentions(place.a, [variable]):
                of = BeforeEnd(place.b, 0, end - _wide(place.a))
            else:
                return of
        else:
            return of


def before_end(conditions: Sequence[BeforeEnd], loop: For, around: Sequence[For], inner: Sequence[For]) -> Scalar:
    """The condition that one of several holds in some iteration of inner loops; None where that is not known."""
    analyzer = tvm.sym.Analyzer()
    for each in (*around, loop, *inner):
        analyzer.bind(each.loop_var, tvm.ir.Range.from_min_extent(each.min, each.extent))
    first = {each.loop_var: each.min for each in inner}
    last = {each.loop_var: each.min + each.extent - 1 for each in inner}
    lowest: BeforeEnd | None = None
    for each in conditions:
        least = _least(each, analyzer, first)
        if lowest is not None and not (lowest.alike(least) and not least.bound):
            return None
        place = least.place if lowest is None else _lower(analyzer, lowest.place, least.place)
        if place is None:
            return None
        lowest = replace(least, place=place)
    assert lowest is not None
    beyond = max(each.span for each in conditions)
    found = apart(lowest)
    while (least := _least(found, analyzer, first, drop=True)) is not found:
        found = apart(least)
    low = analyzer.simplify(substituted(found.place, first))
    if not analyzer.can_prove(found.place >= low):
        return None
    if not found.bound:
        return apart(replace(found, place=low), loop.loop_var)
    high = analyzer.simplify(substituted(found.place, last))
    span = analyzer.simplify(high - low)
    if not isinstance(span, tirx.IntImm) or not analyzer.can_prove(found.place <= high):
        return None
    found = replace(found, place=low, span=int(span) + beyond)
    if found.span >= found.bound:
        return None
    return found if found.span else apart(found, loop.loop_var)


def _least(of: BeforeEnd, analyzer: Analyzer, first: Mapping[Var, Scalar], *, drop: bool = False) -> BeforeEnd:
    """A condition that holds wherever the given one does in some iteration of inner loops.

    What these only add has its least value; where that is to be dropped it goes to the other side.
    """
    if of.bound or not isinstance(of.place, tirx.Add):
        return of
    base, more = of.place.a, of.place.b
    least = analyzer.simplify(substituted(more, first))
    if not isinstance(least, tirx.IntImm) or not analyzer.can_prove(more >= least):
        return of
    if drop:
        return BeforeEnd(base, 0, of.end - int(least))
    return of if isinstance(more, tirx.IntImm) else BeforeEnd(base + int(least) if int(least) else base, 0, of.end)


def _lower(analyzer: Analyzer, one: Scalar, other: Scalar) -> Scalar | None:
    difference = analyzer.simplify(other - one)
    if not isinstance(difference, tirx.IntImm):
        return None
    return one if int(difference) >= 0 else other


def _number(value: Scalar) -> int | None:
    return int(value) if isinstance(value, tirx.IntImm) and int(value) > 0 else None


def _like(value: int, other: Scalar) -> Scalar:
    return tirx.IntImm(str(other.ty.dtype), value)


def _wide(value: Scalar) -> Scalar:
    return value if str(value.ty.dtype) == "int64" else value.astype("int64")


def _equal(one: Scalar, other: Scalar) -> bool:
    return bool(tvm_ffi.structural_equal(one, other))

"""Loops of a kernel end where its result ends, when a library runs for fewer images or tokens than it was planned for.

    parallel for i in 64:                 parallel for i in min(64, size * 2):
        for tile in 7:           ->           for tile in 7:
            out[i // 2, ...]                      if the tile begins before size: out[i // 2, ...]

`STOPS` says which parameter the size is, and which parameters have so many along their outermost axis. A loop may
leave out an iteration if whatever that writes of a result lies behind the end, and whatever else it writes is
read in it alone. A stage of its own, a packing or a padding, may leave out those that read nothing before the end: an
operand of which elements meet holds something else there, and does not count. Works on loops over buffers that still
have their axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import STOPS
from ...ir_types import Buffer, For, PrimFunc, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import found, mentions, substituted, with_body

_DEEPEST = 3  # loops inside of each other that get conditions
_KINDS = (tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL)


def stop_early(function: PrimFunc) -> PrimFunc:
    """The function with conditions, and with shorter loops."""
    marks = STOPS.of(function)
    if marks is None:
        return function
    size = function.params[marks[0]]
    counts = {buffer: bound for buffer, bound in zip(function.params, marks[1:], strict=True) if bound}
    results = {buffer for store in found(function.body, tirx.BufferStore) if (buffer := store.buffer) in counts}
    masks = any(
        load.source.same_as(each) for load in found(function.body, TensorLoad) for each in _sizes(function, size)
    )
    stopper = _Stopper(function.body, size, counts, results, masks)
    return function.with_body(stopper.top(function.body))


def _sizes(function: PrimFunc, stop: Buffer) -> list[Buffer]:
    """The parameters that are sizes: with them a kernel puts something in place of what is not there."""
    return [
        each for each in function.params if not each.shape and str(each.dtype) == "int64" and not each.same_as(stop)
    ]


@dataclass(frozen=True)
class _Stopper:
    body: Stmt
    size: Buffer
    counts: Mapping[Buffer, int]
    results: set[Buffer]
    masks: bool

    def top(self, body: Stmt) -> Stmt:
        """The outermost statements, each loop among them shortened."""
        if isinstance(body, tirx.SeqStmt):
            return tirx.SeqStmt([self.top(each) for each in body.seq])
        return self.loop(body, ()) if isinstance(body, tirx.For) else body

    def loop(self, loop: For, around: tuple[For, ...]) -> Stmt:
        """A loop that leaves out what it may, and those inside of it."""
        if loop.kind not in _KINDS or loop.annotations or len(around) == _DEEPEST or not self._is_alone(loop):
            return loop  # others look for loops with annotations, and know what stands in them
        inner = with_body(loop, self._inside(loop.body, (*around, loop)))
        steps = any(each.kind == tirx.ForKind.SERIAL for each in found(loop.body, tirx.For))
        if around and not steps:  # so little to do that to ask costs as much
            return inner
        places = self._places(loop)
        if not places:
            return inner
        before = self._before(places, loop, around)
        if before is None:
            return inner
        index, end = before
        if not mentions(index, [loop.loop_var]):
            return inner
        limit = _limit(index, loop.loop_var, end)
        scratch = [each for each in found(loop.body, tirx.AllocBuffer) if each.buffer.scope() == "global"]
        if limit is not None and not scratch:
            extent = tirx.min(loop.extent, _like(limit, loop.extent))
            return tirx.For(loop.loop_var, loop.min, extent, inner.kind, inner.body, None, {}, loop.step)
        return with_body(inner, tirx.IfThenElse(index < _like(end, index), inner.body, None))

    def _inside(self, body: Stmt, around: tuple[For, ...]) -> Stmt:
        if isinstance(body, tirx.SeqStmt):
            return tirx.SeqStmt([self._inside(each, around) for each in body.seq])
        return self.loop(body, around) if isinstance(body, tirx.For) else body

    def _is_alone(self, loop: For) -> bool:
        """Whether nothing outside of the loop reads what it writes, results apart."""
        written = {store.buffer for store in found(loop, tirx.BufferStore)} - self.results
        if not written:
            return True
        stage = not any(store.buffer in self.results for store in found(loop, tirx.BufferStore))
        if stage:  # what it makes of what is not there is not there either
            return not self.masks
        inside = sum(load.source in written for load in found(loop, TensorLoad))
        return inside == sum(load.source in written for load in found(self.body, TensorLoad))

    def _places(self, loop: For) -> list[Scalar]:
        """Where along the outermost axis it writes results; of a stage, where it reads."""
        stores = [
            (store.buffer, store.indices) for store in found(loop, tirx.BufferStore) if store.buffer in self.results
        ]
        accesses = stores or [
            (load.source, load.indices) for load in found(loop, TensorLoad) if load.source in self.counts
        ]
        places: list[Scalar] = []
        for buffer, indices in accesses:
            place = _outermost(buffer, indices, self.counts[buffer])
            if place is None:
                return []
            places.append(place)
        return places

    def _before(self, places: Sequence[Scalar], loop: For, around: tuple[For, ...]) -> tuple[Scalar, Scalar] | None:
        """What must be less than what, if any of the places lies before the end; None where that is not known."""
        inner = found(loop.body, tirx.For)
        analyzer = tvm.sym.Analyzer()
        for each in (*around, loop, *inner):
            analyzer.bind(each.loop_var, tvm.ir.Range.from_min_extent(each.min, each.extent))
        first = {each.loop_var: each.min for each in inner}
        lowest: tuple[Scalar, Scalar] | None = None
        for place in places:
            index, step = _undivided(place)
            begin = analyzer.simplify(substituted(index, first))
            if not analyzer.can_prove(index >= begin):
                return None
            end = tirx.BufferLoad(self.size, []) * tirx.IntImm("int64", step)
            if lowest is not None and not (
                tvm_ffi.structural_equal(lowest[0], begin) and tvm_ffi.structural_equal(lowest[1], end)
            ):
                return None
            lowest = begin, end
        return lowest


def _outermost(buffer: Buffer, indices: Sequence[Scalar], count: int) -> Scalar | None:
    """The position along the first axis of more than one element, counted in `count`."""
    for extent, index in zip(buffer.shape, indices, strict=True):
        if int(extent) == 1 and count != 1:
            continue
        if int(extent) % count or isinstance(index, tirx.Ramp):
            return None
        step = int(extent) // count
        return index if step == 1 else tirx.floordiv(index, tirx.IntImm(str(index.ty.dtype), step))
    return None


def _undivided(place: Scalar) -> tuple[Scalar, int]:
    """x and c of x // c: the quotient is less than n where x is less than n * c."""
    step = 1
    while isinstance(place, tirx.FloorDiv) and isinstance(place.b, tirx.IntImm) and int(place.b) > 0:
        step *= int(place.b)
        place = place.a
    return place, step


def _limit(index: Scalar, variable: Var, end: Scalar) -> Scalar | None:
    """How many values of a variable from 0 on have an index before `end`; None where it is no product or quotient."""
    if index.same_as(variable):
        return end
    if isinstance(index, tirx.Mul) and isinstance(index.b, tirx.IntImm) and int(index.b) > 0:
        factor = tirx.IntImm("int64", int(index.b))
        return _limit(index.a, variable, tirx.floordiv(end + (factor - 1), factor))
    if isinstance(index, tirx.FloorDiv) and isinstance(index.b, tirx.IntImm) and int(index.b) > 0:
        return _limit(index.a, variable, end * tirx.IntImm("int64", int(index.b)))
    return None


def _like(value: Scalar, other: Scalar) -> Scalar:
    dtype = str(other.ty.dtype)
    return value if str(value.ty.dtype) == dtype else value.astype(dtype)

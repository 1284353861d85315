"""Loops of a kernel end where its result ends, when a library runs for smaller sizes than it was planned for.

    parallel for i in 64:                 parallel for i in min(64, H * 2):
        for tile in 7:           ->           for tile in 7:
            out[i // 2, tile * 4 + j]             if tile * 4 < W: out[i // 2, tile * 4 + j]

`STOPS` says where the operands and the result end, along one axis or several (`before_end.py`). A loop may leave out an
iteration if whatever that writes of a result lies behind an end, and whatever else it writes is read in it alone. A
stage of its own, a packing or a padding, may leave out those that read nothing before the end of an operand; and then
what it writes ends, too. So may a sum that puts 0 in place of what is not there. Where else elements meet, operands
hold something else behind their ends: they end where nobody reads that; and sums that are 0 there for those who read
them are not computed (`masked_sums.py`). Works on loops over buffers that still have their axes.

Of grids whole blocks of threads end at once, where all that they write of a result lies behind an end (`RUNS_IF`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import RUNS_IF, STOPS
from ...ir_types import Buffer, For, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import found, mentions
from .before_end import BeforeEnd, Row, before_end
from .launches import LAUNCH
from .line_loops import by_lines
from .masked_sums import adds, only_where_seen
from .needs import Need, needs_of

_BLOCKS = "blockIdx"
_DEEPEST = 6  # loops inside of each other that get conditions
_KINDS = (tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL)


def stop_early(function: PrimFunc) -> PrimFunc:
    """The function with conditions, and with shorter loops."""
    marks = STOPS.of(function)
    if marks is None:
        return function
    ends: dict[Buffer, list[Row]] = {}
    stops = set()
    for parameter, axis, begin, step, bound, size in zip(*(marks[place::6] for place in range(6)), strict=True):
        stops.add(size)
        ends.setdefault(function.params[parameter], []).append(
            Row(axis, begin, step, bound, tirx.BufferLoad(function.params[size], []))
        )
    results = {store.buffer for store in found(function.body, tirx.BufferStore)} & set(function.params)
    masks = {
        each
        for index, each in enumerate(function.params)
        if index not in stops and not each.shape and str(each.dtype) == "int64"
    }
    stopper = _Stopper(function.body, ends, results, masks)
    return function.with_body(stopper.statement(function.body, ()))


@dataclass(frozen=True)
class _Stopper:
    """One walk over a kernel.

    Attributes:
        body: of the kernel.
        ends: where buffers end, stages among them once they were met.
        results: what callers see.
        masks: sizes with which something is put in place of what is not there.
        needs: of stages that are read by loops that were met: what those read.
    """

    body: Stmt
    ends: dict[Buffer, list[Row]]
    results: set[Buffer]
    masks: set[Buffer]
    needs: dict[Buffer, list[Need]] = field(default_factory=dict)

    def statement(self, body: Stmt, around: tuple[For, ...]) -> Stmt:
        """Statements, with each loop among them shortened."""
        if isinstance(body, tirx.SeqStmt):
            for each in reversed(body.seq):  # who reads says what is needed of those before
                self._ask(each, around)
            return tirx.SeqStmt([self._seen(each, body.seq[n + 1 :], around) for n, each in enumerate(body.seq)])
        if isinstance(body, tirx.AttrStmt) and body.attr_key == LAUNCH:
            return self.grid(body)
        return self.loop(body, around) if isinstance(body, tirx.For) else body

    def _seen(self, body: Stmt, after: Sequence[Stmt], around: tuple[For, ...]) -> Stmt:
        """A statement that others follow, where something is seen of what it does."""
        changed = self.statement(body, around)
        for each in only_where_seen(body, after, around, self.body, self.masks, self.results):
            changed = tirx.IfThenElse(each.condition(), changed, None)
        return changed

    def loop(self, loop: For, around: tuple[For, ...]) -> Stmt:
        """A loop that leaves out what it may, and those inside of it."""
        if not self._may_be_shorter(loop, around):
            return loop
        conditions = self._conditions(loop, around)
        body = self.statement(loop.body, (*around, loop))
        for rows in self.ends.values():
            rows[:] = [row for row in rows if not mentions(row.size, [loop.loop_var])]
        self._learn(loop, conditions)
        scratch = [each for each in found(loop.body, tirx.AllocBuffer) if each.buffer.scope() == "global"]
        steps = any(each.kind in (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED) for each in found(loop.body, tirx.For))
        constant = bool(scratch) and loop.kind == tirx.ForKind.PARALLEL  # workers share its iterations, and have memory
        extent = loop.extent
        outer = [each.loop_var for each in around]
        in_lines: list[BeforeEnd] = []
        stops: list[BeforeEnd] = []
        for each in conditions:
            if not (steps or not around or (each.place.same_as(loop.loop_var) and not mentions(each.end, outer))):
                continue  # so little to do that to ask costs as much
            if each.place.same_as(loop.loop_var) and not each.bound and not constant:
                extent = tirx.min(extent, each.end.astype(str(extent.ty.dtype)))
                stops.append(each)
            else:
                in_lines.append(each)
        shorter = tirx.For(loop.loop_var, loop.min, extent, loop.kind, body, None, {}, loop.step)
        for each in in_lines:
            lines = by_lines(_within(shorter, [other for other in in_lines if other is not each]), each, stops)
            if lines is not None:
                return lines
        return _within(shorter, in_lines)

    def _ask(self, loop: Stmt, around: tuple[For, ...]) -> None:
        """Notes what a loop, and those right inside of it, need of stages."""
        while isinstance(loop, tirx.For) and self._may_be_shorter(loop, around):
            conditions = self._conditions(loop, around)
            if conditions:
                self.needs.update(needs_of(loop, around, conditions, self.body, self.results))
            loop, around = loop.body, (*around, loop)

    def _may_be_shorter(self, loop: For, around: tuple[For, ...]) -> bool:
        """Others look for loops with annotations, and know what stands in them."""
        return loop.kind in _KINDS and not loop.annotations and len(around) < _DEEPEST and self._is_alone(loop)

    def grid(self, body: Stmt) -> Stmt:
        """A grid whose blocks do nothing where nothing is needed."""
        places: list[Stmt] = []
        while isinstance(body, tirx.AttrStmt) and body.attr_key == LAUNCH:
            places.append(body)
            body = body.body
        # As loops around each other, for which conditions are found.
        loops: list[For] = []
        for each in reversed(places):
            inner = loops[0] if loops else body
            zero = tirx.IntImm(str(each.node.var.ty.dtype), 0)
            loops.insert(0, tirx.For(each.node.var, zero, each.value, tirx.ForKind.SERIAL, inner, None, {}))
        makes_results = any(store.buffer in self.results for store in found(body, tirx.BufferStore))
        for number, (place, loop) in enumerate(zip(places, loops, strict=True)):
            if makes_results and str(place.node.thread_tag).startswith(_BLOCKS) and self._is_alone(loop):
                for condition in self._conditions(loop, tuple(loops[:number])):
                    body = RUNS_IF.around(body, condition.condition())
        for place in reversed(places):
            body = tirx.AttrStmt(place.node, LAUNCH, place.value, body)
        return body

    def _is_alone(self, loop: For) -> bool:
        """Whether nothing outside of the loop reads what it writes, results apart; or it is a stage."""
        stores = found(loop, tirx.BufferStore)
        own = {each.buffer for each in found(loop, tirx.AllocBuffer)}
        written = {store.buffer for store in stores} - self.results - own
        if not written:
            return True
        if not any(store.buffer in self.results for store in stores):  # what it makes of nothing is nothing
            masked = any(load.source in self.masks for load in found(loop, TensorLoad))
            if masked and len(written) == 1 and all(map(adds, stores)):
                return True
            places = all(
                store.buffer.scope() == "global" and any(mentions(index, [loop.loop_var]) for index in store.indices)
                for store in stores
                if store.buffer in written
            )
            return places and not masked
        inside = sum(load.source in written for load in found(loop, TensorLoad))
        return inside == sum(load.source in written for load in found(self.body, TensorLoad))

    def _conditions(self, loop: For, around: tuple[For, ...]) -> list[BeforeEnd]:
        """Without which an iteration does nothing that is needed: what it writes, or a stage reads, lies behind."""
        inner = found(loop.body, tirx.For)
        outer = [each.loop_var for each in around]
        accesses: dict[Buffer, list[Sequence[Scalar]]] = {}
        for store in found(loop, tirx.BufferStore):
            if store.buffer in self.results or store.buffer in self.needs:
                accesses.setdefault(store.buffer, []).append(store.indices)
        if not accesses:
            for load in found(loop, TensorLoad):
                if self.ends.get(load.source):
                    accesses.setdefault(load.source, []).append(load.indices)
        common: list[BeforeEnd] | None = None
        for buffer, places in accesses.items():
            of_buffer = []
            asked: list[Callable[[Sequence[Scalar]], BeforeEnd | None]] = [
                *(row.of for row in self.ends.get(buffer, ())),
                *(partial(need.of, around=outer) for need in self.needs.get(buffer, ())),
            ]
            for of in asked:
                each = [of(indices) for indices in places]
                whole = [condition for condition in each if condition is not None]
                needed = before_end(whole, loop, around, inner) if len(whole) == len(each) else None
                if needed is not None and mentions(needed.place, [loop.loop_var]):
                    of_buffer.append(needed)
            common = (
                of_buffer if common is None else [one for one in common if any(one.same(other) for other in of_buffer)]
            )
        return common or []

    def _learn(self, loop: For, conditions: Sequence[BeforeEnd]) -> None:
        """Where what a stage writes ends: along an axis whose positions are the iterations."""
        stores = found(loop, tirx.BufferStore)
        if any(store.buffer in self.results for store in stores):
            return
        for condition in conditions:
            if condition.span or not condition.place.same_as(loop.loop_var):
                continue
            for buffer in {store.buffer for store in stores}:
                own = [store.indices for store in stores if store.buffer.same_as(buffer)]
                for axis in range(len(buffer.shape)):
                    if all(indices[axis].same_as(loop.loop_var) for indices in own):
                        self.ends.setdefault(buffer, []).append(Row(axis, 0, 1, condition.bound, condition.end))


def _within(loop: For, conditions: Sequence[BeforeEnd]) -> Stmt:
    """The loop with conditions around what it does."""
    body = loop.body
    for each in conditions:
        body = tirx.IfThenElse(each.condition(), body, None)
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, body, None, {}, loop.step)

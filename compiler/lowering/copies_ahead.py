"""What a block copies to memory that it shares comes some slabs before it is needed, and lies so that all banks serve.

    for slab:                                   copy slabs 0 and 1, a group of copies each
        A[...] = a[slab, ...]                   for slab:
        B[...] = b[slab, ...]            ->         wait for the group of this slab; barrier
        sums += A[...] * B[...]                     copy slab + 2 to where slab - 1 was, as a group
                                                    sums += A[slab % 3, ...] * B[slab % 3, ...]

A copy is asynchronous where it only moves elements side by side, or puts zeros in their place. What is computed on the
way, or moved by a machine without such copies, passes registers: it is loaded before the sums, and stored behind them.
One barrier a slab is enough: who is behind it has done with the slab before.

In memory, rows lie in the order in which instructions take them, whose rows are several threads' (`COPY` says how), and
16 bytes of a row lie at the place that they have or another one, which is of the row's number: eight rows that are read
together are in different banks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import tirx
from tvm.ir import Call, Op, PrimType, StringImm, TensorLoad

from ...annotations import AHEAD, COPY, without
from ...hidden_floats import name_of
from ...ir_passes.core.buffers import with_buffers
from ...ir_types import Analyzer, Buffer, For, Node, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.expressions import dtype_bits
from ...schedules.tensorir.rebuild import found, mentions, sequence, substituted, with_body
from ...targets.grid import COPY_ASYNC, COPY_COMMIT, COPY_LOAD, COPY_STORE, COPY_WAIT
from ...targets.target import TargetFunction
from .barriers import BARRIER, SHARED
from .tried_values import are_equal

_CHOICE = "prim.if_then_else"
_BANKED_BYTES, _UNIT_BYTES = 128, 16  # of all banks; that lie together
_WORD = "uint32"


def copy_ahead(function: PrimFunc, functions: Sequence[TargetFunction]) -> PrimFunc:
    """Makes pipelines of marked loops, in a function whose buffers are flat; `functions` are the target's copies."""
    if not any(AHEAD.of(loop) for loop in found(function.body, tirx.For)):
        return function
    names = {each.operator: each.name for each in functions}
    return function.with_body(_Walk(names).statement(function.body))


@dataclass(frozen=True)
class _Layout:
    """Where elements lie in shared memory; the attributes are those of `COPY`."""

    pitch: int
    lanes: int
    own: int
    together: int
    bits: int

    def place(self, index: Scalar) -> Scalar:
        """The index in memory of one by rows of a tile in order."""
        row, inside = index // self.pitch, index % self.pitch
        of_warp = self.lanes * self.own
        lane, own = row % of_warp // self.own, row % self.own
        within = (own // self.together * self.lanes + lane) * self.together + own % self.together
        row = row // of_warp * of_warp + within
        unit = _UNIT_BYTES * 8 // self.bits
        units = min(self.pitch // unit, _BANKED_BYTES // _UNIT_BYTES)
        lines = _BANKED_BYTES // _UNIT_BYTES // units  # rows that all banks hold
        moved = (inside // unit) ^ (row // lines % units)
        return row * self.pitch + moved * unit + inside % unit


@dataclass(frozen=True)
class _Copy:
    """A copy of a slab.

    Attributes:
        nest: its loops, the one over elements last.
        conditions: under which there is something to copy.
        store: of one element.
        layout: of the buffer that it stores to.
    """

    nest: tuple[For, ...]
    conditions: tuple[Scalar, ...]
    store: Stmt
    layout: _Layout

    @property
    def run(self) -> int:
        """Elements side by side."""
        return int(self.nest[-1].extent)

    def at(self, node: Node, place: int) -> Node:
        """A part of the store at one of these elements."""
        variable = self.nest[-1].loop_var
        return substituted(node, {variable: tirx.IntImm(str(variable.ty.dtype), place)})

    def looped(self, body: Stmt, *, over_elements: bool) -> Stmt:
        """A statement in the loops of the copy."""
        for condition in reversed(self.conditions):
            body = tirx.IfThenElse(condition, body, None)
        for loop in reversed(self.nest if over_elements else self.nest[:-1]):
            body = with_body(loop, body, kind=tirx.ForKind.UNROLLED, annotations=without(loop.annotations, COPY))
        return body

    def number(self, *, over_elements: bool) -> tuple[Scalar, int]:
        """Which of a thread's turns it is, and how many there are."""
        loops = self.nest if over_elements else self.nest[:-1]
        number: Scalar = tirx.IntImm("int32", 0)
        for loop in loops:
            number = number * int(loop.extent) + loop.loop_var
        return number, math.prod(int(loop.extent) for loop in loops)


class _Walk:
    """Walks to marked loops, and knows what variables are on the way."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._analyzer = tvm.sym.Analyzer()

    def statement(self, node: Stmt) -> Stmt:
        """The statement with pipelines."""
        if isinstance(node, tirx.SeqStmt):
            return sequence([self.statement(each) for each in node.seq])
        if isinstance(node, tirx.AttrStmt):
            if node.attr_key == "thread_extent":
                self._bind(node.node.var, 0, int(node.value))
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        if isinstance(node, tirx.For):
            self._bind(node.loop_var, node.min, int(node.extent))
            stages = AHEAD.of(node)
            if stages is not None:
                return self._pipeline(node, stages).statement()
            return with_body(node, self.statement(node.body))
        return node

    def _bind(self, variable: Scalar, first: int, extent: int) -> None:
        kind = str(variable.ty.dtype)
        bounds = tirx.IntImm(kind, int(first)), tirx.IntImm(kind, extent)
        self._analyzer.bind(variable, tvm.ir.Range.from_min_extent(*bounds))

    def _pipeline(self, loop: For, stages: int) -> _Pipeline:
        copies, sums, shared = [], [], []
        for each in _flat(loop.body):
            if any(COPY.of(inner) for inner in found(each, tirx.For)):
                copies.append(_copy_of(each))
                for inner in copies[-1].nest:
                    self._bind(inner.loop_var, inner.min, int(inner.extent))
            elif isinstance(each, tirx.AllocBuffer) and each.buffer.scope() == SHARED:
                shared.append(each.buffer)
            else:
                sums.append(each)
        return _Pipeline(loop, stages, copies, sums, shared, self._names, self._analyzer)


def _flat(body: Stmt) -> list[Stmt]:
    return [inner for each in body.seq for inner in _flat(each)] if isinstance(body, tirx.SeqStmt) else [body]


def _copy_of(statement: Stmt) -> _Copy:
    nest, conditions = [], []
    while not isinstance(statement, tirx.BufferStore):
        if isinstance(statement, tirx.For):
            nest.append(statement)
            statement = statement.body
        else:
            assert isinstance(statement, tirx.IfThenElse) and statement.else_case is None
            conditions.append(statement.condition)
            statement = statement.then_case
    marks = COPY.of(nest[-1])
    assert marks is not None
    return _Copy(tuple(nest), tuple(conditions), statement, _Layout(*marks, dtype_bits(str(statement.buffer.dtype))))


class _Pipeline:
    """One loop over slabs."""

    def __init__(
        self,
        loop: For,
        stages: int,
        copies: Sequence[_Copy],
        sums: Sequence[Stmt],
        shared: Sequence[Buffer],
        names: Mapping[str, str],
        analyzer: Analyzer,
    ) -> None:
        self._loop, self._stages, self._copies, self._sums = loop, stages, copies, sums
        self._names, self._analyzer = names, analyzer
        self._slabs = int(loop.extent)
        self._twins = {
            each: tirx.decl_buffer(
                [stages * int(each.shape[0])], str(each.dtype), str(each.name), scope=SHARED, layout=None
            )
            for each in shared
        }
        self._layouts = {each.store.buffer: each.layout for each in copies}
        moves = [(each, self._move(each)) for each in copies]
        self._asynchronous = [(each, move) for each, move in moves if move is not None and self._waits]
        self._registers = [(each, move) for each, move in moves if move is None or not self._waits]

    @property
    def _waits(self) -> bool:
        return COPY_COMMIT in self._names

    def statement(self) -> Stmt:
        """All of it."""
        ahead, slab = self._stages - 1, self._loop.loop_var
        first = tirx.Var("first", slab.ty)
        begin = min(ahead, self._slabs)
        before: list[Stmt] = [tirx.AllocBuffer(each) for each in self._twins.values()]
        filled = [*self._issued(first), *(self._stored(each, first) for each, _ in self._registers), *self._commit()]
        before.append(tirx.For(first, _like(slab, 0), _like(slab, begin), tirx.ForKind.UNROLLED, sequence(filled)))
        for _ in range(ahead - begin):
            before += self._commit()
        body: list[Stmt] = [*self._call(f"{COPY_WAIT}{ahead - 1}"), _barrier()]
        loads: list[Stmt] = []
        stores: list[Stmt] = []
        if self._slabs > ahead:
            coming = slab + ahead
            for copy, move in self._registers:
                allocation, load, store = self._through_registers(copy, move, coming)
                body.append(allocation)
                loads.append(load)
                stores.append(store)
            loads = [self._guarded(coming, [*self._issued(coming), *loads])]
            stores = [self._guarded(coming, stores)] if stores else []
        sums = with_buffers(sequence(self._sums), self._twins, moved=self._moved(slab))
        body += [*loads, *self._commit(), sums, *stores]
        return sequence([*before, with_body(self._loop, sequence(body))])

    def _guarded(self, slab: Scalar, statements: Sequence[Stmt]) -> Stmt:
        return tirx.IfThenElse(slab < self._slabs, sequence(statements), None)

    def _moved(self, slab: Scalar) -> object:
        """From an index in a slab to one in what there is of several."""

        def moved(buffer: Buffer, indices: Sequence[Scalar]) -> list[Scalar]:
            (index,) = indices
            return [slab % self._stages * int(buffer.shape[0]) + self._layouts[buffer].place(index)]

        return moved

    def _issued(self, slab: Scalar) -> Iterator[Stmt]:
        """The asynchronous copies of a slab."""
        for copy, move in self._asynchronous:
            assert move is not None
            yield self._of_slab(copy.looped(move.asynchronous(copy, self._names), over_elements=False), slab)

    def _stored(self, copy: _Copy, slab: Scalar) -> Stmt:
        """A copy of a slab that waits for what it loads."""
        return self._of_slab(copy.looped(copy.store, over_elements=True), slab)

    def _through_registers(self, copy: _Copy, move: _Move | None, slab: Scalar) -> tuple[Stmt, Stmt, Stmt]:
        """Memory for what a thread loads, its loads, and its stores."""
        whole = move is not None and move.size == _UNIT_BYTES and f"{COPY_LOAD}{_UNIT_BYTES}" in self._names
        number, count = copy.number(over_elements=not whole)
        words = _UNIT_BYTES * 8 // dtype_bits(_WORD) if whole else 1
        kind = _WORD if whole else str(copy.store.buffer.dtype)
        held = tirx.decl_buffer([count * words], kind, f"{copy.store.buffer.name}_next", scope="local", layout=None)
        if whole:
            assert move is not None
            registers = [tirx.BufferLoad(held, [number * words + at]) for at in range(words)]
            load = _called(self._names[f"{COPY_LOAD}{_UNIT_BYTES}"], *registers, *move.source)
            store = _called(self._names[f"{COPY_STORE}{_UNIT_BYTES}"], *registers, move.destination(copy))
        else:
            load = tirx.BufferStore(held, copy.store.value, [number])
            store = tirx.BufferStore(copy.store.buffer, tirx.BufferLoad(held, [number]), copy.store.indices)
        load, store = (self._of_slab(copy.looped(each, over_elements=not whole), slab) for each in (load, store))
        return tirx.AllocBuffer(held), load, store

    def _of_slab(self, statement: Stmt, slab: Scalar) -> Stmt:
        """What is done with a slab that is not that of the loop."""
        placed = with_buffers(statement, self._twins, moved=self._moved(self._loop.loop_var))
        return _renewed(substituted(placed, {self._loop.loop_var: slab}))

    def _move(self, copy: _Copy) -> _Move | None:
        """How a copy moves runs as they are; None: it computes something, or runs are not side by side."""
        conditions, value = _taken_apart(copy.store.value)
        size = copy.run * copy.layout.bits // 8
        if not isinstance(value, TensorLoad) or str(value.source.dtype) != str(copy.store.buffer.dtype):
            return None
        if f"{COPY_ASYNC}{size}" not in self._names and f"{COPY_LOAD}{size}" not in self._names:
            return None
        variable = copy.nest[-1].loop_var
        if any(mentions(each, [variable]) for each in conditions):
            return None
        (index,) = value.indices
        first = copy.at(index, 0)
        if not are_equal(first + variable, index, self._analyzer) or not self._is_multiple(first, copy.run):
            return None
        there: Scalar = tirx.IntImm("int32", size)
        if conditions:
            there = tirx.if_then_else(tirx.all(*conditions), there, tirx.IntImm("int32", 0))
        return _Move(size, (tirx.address_of(tirx.BufferLoad(value.source, [first])), there))

    def _is_multiple(self, index: Scalar, of: int) -> bool:
        """Whether an index is a multiple of something for all values of its variables."""
        known = self._analyzer.modular_set(self._analyzer.simplify(index))
        return int(known.coeff) % of == 0 and int(known.base) % of == 0

    def _commit(self) -> list[Stmt]:
        return self._call(COPY_COMMIT)

    def _call(self, function: str) -> list[Stmt]:
        return [_called(self._names[function])] if self._asynchronous else []


@dataclass(frozen=True)
class _Move:
    """How a run is moved.

    Attributes:
        size: its bytes.
        source: its address, and how many of its bytes there are: all or none.
    """

    size: int
    source: tuple[Scalar, Scalar]

    def destination(self, copy: _Copy) -> Scalar:
        """The address that it is moved to."""
        return tirx.address_of(tirx.BufferLoad(copy.store.buffer, [copy.at(copy.store.indices[0], 0)]))

    def asynchronous(self, copy: _Copy, names: Mapping[str, str]) -> Stmt:
        """The copy of a run."""
        return _called(names[f"{COPY_ASYNC}{self.size}"], self.destination(copy), *self.source)


def _taken_apart(value: Scalar) -> tuple[list[Scalar], Scalar]:
    """Conditions under which a value is another one, and is zero without; and that one."""
    conditions: list[Scalar] = []
    while name_of(value) == _CHOICE and _is_zero(value.args[2]):
        conditions.append(value.args[0])
        value = value.args[1]
    return conditions, value


def _is_zero(value: Scalar) -> bool:
    return isinstance(value, (tirx.IntImm, tirx.FloatImm)) and not value.value


def _renewed(statement: Stmt) -> Stmt:
    """The statement with loop variables of its own."""
    loops = found(statement, tirx.For)
    fresh = {each.loop_var: tirx.Var(each.loop_var.name, each.loop_var.ty) for each in loops}

    def renew(node: Node) -> Node:
        if isinstance(node, tirx.For):
            body = renew(node.body)
            return tirx.For(fresh[node.loop_var], node.min, node.extent, node.kind, body, None, node.annotations)
        if isinstance(node, tirx.IfThenElse):
            return tirx.IfThenElse(node.condition, renew(node.then_case), None)
        if isinstance(node, tirx.SeqStmt):
            return sequence([renew(each) for each in node.seq])
        return node

    return substituted(renew(statement), fresh)


def _like(variable: Scalar, value: int) -> Scalar:
    return tirx.IntImm(str(variable.ty.dtype), value)


def _called(function: str, *arguments: Scalar) -> Stmt:
    return tirx.Evaluate(tirx.call_extern("int32", function, *arguments))


def _barrier() -> Stmt:
    return tirx.Evaluate(Call(Op.get(BARRIER), [StringImm(SHARED)], ret_ty=PrimType("int32")))


def _everything(statements: Iterable[Stmt]) -> Stmt:
    return sequence(list(statements))

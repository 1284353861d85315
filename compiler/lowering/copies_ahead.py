"""What a block copies to memory that it shares comes some slabs before it is needed, and lies so that all banks serve.

    for slab:                                   copy slabs 0 and 1, a group of copies each
        A[...] = a[slab, ...]                   for slab:
        B[...] = b[slab, ...]            ->         wait for the group of this slab; barrier
        sums += A[...] * B[...]                     copy slab + 2 to where slab - 1 was, as a group
                                                    sums += A[slab % 3, ...] * B[slab % 3, ...]

A copy is asynchronous where it only moves elements side by side, or puts zeros in their place. What is computed on the
way, or moved by a machine without such copies, passes registers: it is loaded before the sums, and stored behind them.
One barrier a slab is enough: who is behind it has done with the slab before. What is the same for all slabs is copied
once, with the first.
`shared_copies.py` says where elements lie in shared memory.

Where units read shared memory by themselves (`LATE`), products of a slab are on the way while the next one is waited
for: what comes then takes the place of the slab before. What was copied by threads has to be shown to such units. For
a copy that is tiles of a tensor (`tile_copies.py`) one thread asks; a barrier for each place counts what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import tvm
from tvm import tirx

from ...annotations import AHEAD, COPY, LATE, without
from ...ir_passes.core.buffers import with_buffers
from ...ir_types import Analyzer, Buffer, For, Node, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.expressions import dtype_bits
from ...schedules.tensorir.rebuild import found, substituted, with_body
from ...targets.grid import (
    COPY_COMMIT,
    COPY_FENCE,
    COPY_LOAD,
    COPY_STORE,
    COPY_WAIT,
    TILES_BEGIN,
    TILES_EXPECT,
    TILES_WAIT,
)
from ...targets.target import TargetFunction
from ...tensorir_statements import flattened, sequence
from .barriers import SHARED, barrier
from .launches import LAUNCH
from .shared_copies import UNIT_BYTES, Copy, Move, called, copy_of, move_of
from .tile_copies import Tiles, tiles_of

_WORD, _BARRIER = "uint32", "uint64"
_THREAD = "threadIdx."
_Found = tuple[Copy, Move | None]  # a copy, and how it moves what is there, if it does no more


def copy_ahead(function: PrimFunc, functions: Sequence[TargetFunction]) -> PrimFunc:
    """Makes pipelines of marked loops, in a function whose buffers are flat; `functions` are the target's copies."""
    if not any(AHEAD.of(loop) for loop in found(function.body, tirx.For)):
        return function
    names = {each.operator: each.name for each in functions}
    return function.with_body(_Walk(names).statement(function.body))


class _Walk:
    """Walks to marked loops, and knows what variables are on the way."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._analyzer = tvm.sym.Analyzer()
        self._places: dict[str, Scalar] = {}  # of a thread in the grid

    def statement(self, node: Stmt) -> Stmt:
        """The statement with pipelines."""
        if isinstance(node, tirx.SeqStmt):
            return sequence([self.statement(each) for each in node.seq])
        if isinstance(node, tirx.AttrStmt):
            if node.attr_key == LAUNCH:
                self._bind(node.node.var, 0, int(node.value))
                self._places[str(node.node.thread_tag)] = node.node.var
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
        for each in flattened(loop.body):
            if any(COPY.of(inner) for inner in found(each, tirx.For)):
                copies.append(copy_of(each))
                for inner in copies[-1].nest:
                    self._bind(inner.loop_var, inner.min, int(inner.extent))
            elif isinstance(each, tirx.AllocBuffer) and each.buffer.scope() == SHARED:
                shared.append(each.buffer)
            else:
                sums.append(each)
        return _Pipeline(loop, stages, copies, sums, shared, self._names, self._places, self._analyzer)


class _Pipeline:
    """One loop over slabs."""

    def __init__(
        self,
        loop: For,
        stages: int,
        copies: Sequence[Copy],
        sums: Sequence[Stmt],
        shared: Sequence[Buffer],
        names: Mapping[str, str],
        places: Mapping[str, Scalar],
        analyzer: Analyzer,
    ) -> None:
        self._loop, self._stages, self._sums = loop, stages, sums
        self._late, self._places = LATE.of(loop) or 0, places
        self._names, self._analyzer = names, analyzer
        self._slabs = int(loop.extent)
        self._once = {each.store.buffer for each in copies if not each.mentions(loop.loop_var)}
        self._twins = {each: self._twin(each) for each in shared}
        self._layouts = {each.store.buffer: each.layout for each in copies}
        self._tiles: list[Tiles] = []
        moves: list[_Found] = []
        for each in copies:
            tiles = tiles_of(each, loop.loop_var, places, names, analyzer) if self._late else None
            if tiles is not None:
                self._tiles.append(tiles)
            else:
                moves.append((each, move_of(each, names, analyzer)))
        self._asynchronous = [(each, move) for each, move in moves if move is not None and self._waits]
        self._registers = [(each, move) for each, move in moves if move is None or not self._waits]

    @property
    def _waits(self) -> bool:
        return COPY_COMMIT in self._names

    def _twin(self, slab: Buffer) -> Buffer:
        """The memory for what there is at a time of a buffer that holds a slab."""
        rooms = 1 if slab in self._once else min(self._stages, self._slabs)
        shape = [rooms * int(slab.shape[0])]
        return tirx.decl_buffer(shape, str(slab.dtype), str(slab.name), scope=SHARED, layout=None)

    def statement(self) -> Stmt:
        """All of it."""
        ahead, slab = self._stages - 1 - self._late, self._loop.loop_var
        first = tirx.Var("first", slab.ty)
        begin = min(ahead, self._slabs)
        before: list[Stmt] = [tirx.AllocBuffer(each) for each in self._twins.values()]
        zero = _like(slab, 0)
        before += [*self._issued(zero, once=True), *self._stored(zero, once=True)]
        before += self._begun()
        filled = [*self._asked(first), *self._issued(first), *self._stored(first), *self._commit()]
        if filled:
            before.append(tirx.For(first, zero, _like(slab, begin), tirx.ForKind.UNROLLED, sequence(filled)))
        for _ in range(ahead - begin):
            before += self._commit()
        body: list[Stmt] = [*self._awaited(slab), *self._call(f"{COPY_WAIT}{ahead - 1}"), *self._shown(), barrier()]
        loads: list[Stmt] = []
        stores: list[Stmt] = []
        if self._slabs > ahead:
            coming = slab + ahead
            for copy, move in self._chosen(self._registers, once=False):
                allocation, load, store = self._through_registers(copy, move, coming)
                body.append(allocation)
                loads.append(load)
                stores.append(store)
            loads = [self._guarded(coming, [*self._asked(coming), *self._issued(coming), *loads])]
            stores = [self._guarded(coming, stores)] if stores else []
        sums = with_buffers(sequence(self._sums), self._twins, moved=self._moved(slab))
        body += [*loads, *self._commit(), sums, *stores]
        kept = without(self._loop.annotations, LATE)
        return sequence([*before, with_body(self._loop, sequence(body), annotations=kept)])

    def _guarded(self, slab: Scalar, statements: Sequence[Stmt]) -> Stmt:
        return tirx.IfThenElse(slab < self._slabs, sequence(statements), None)

    def _moved(self, slab: Scalar) -> Callable[[Buffer, Sequence[Scalar]], list[Scalar]]:
        """From an index in a slab to one in what there is of several."""

        def moved(buffer: Buffer, indices: Sequence[Scalar]) -> list[Scalar]:
            (index,) = indices
            place = self._layouts[buffer].place(index)
            return [place if buffer in self._once else slab % self._stages * int(buffer.shape[0]) + place]

        return moved

    def _chosen(self, copies: Sequence[_Found], *, once: bool) -> list[_Found]:
        """Of some copies those of every slab, or those that are made once."""
        return [(copy, move) for copy, move in copies if (copy.store.buffer in self._once) == once]

    def _issued(self, slab: Scalar, *, once: bool = False) -> Iterator[Stmt]:
        """The asynchronous copies of a slab."""
        for copy, move in self._chosen(self._asynchronous, once=once):
            assert move is not None
            yield self._of_slab(copy.looped(move.asynchronous(copy, self._names), over_elements=False), slab)

    def _stored(self, slab: Scalar, *, once: bool = False) -> Iterator[Stmt]:
        """The other copies of a slab, which wait for what they load."""
        for copy, _ in self._chosen(self._registers, once=once):
            yield self._of_slab(copy.looped(copy.store, over_elements=True), slab)

    def _through_registers(self, copy: Copy, move: Move | None, slab: Scalar) -> tuple[Stmt, Stmt, Stmt]:
        """Memory for what a thread loads, its loads, and its stores."""
        whole = move is not None and move.size == UNIT_BYTES and f"{COPY_LOAD}{UNIT_BYTES}" in self._names
        number, count = copy.number(over_elements=not whole)
        words = UNIT_BYTES * 8 // dtype_bits(_WORD) if whole else 1
        kind = _WORD if whole else str(copy.store.buffer.dtype)
        held = tirx.decl_buffer([count * words], kind, f"{copy.store.buffer.name}_next", scope="local", layout=None)
        if whole:
            assert move is not None
            registers = [tirx.BufferLoad(held, [number * words + at]) for at in range(words)]
            load = called(self._names[f"{COPY_LOAD}{UNIT_BYTES}"], *registers, *move.source)
            store = called(self._names[f"{COPY_STORE}{UNIT_BYTES}"], *registers, move.destination(copy))
        else:
            load = tirx.BufferStore(held, copy.store.value, [number])
            store = tirx.BufferStore(copy.store.buffer, tirx.BufferLoad(held, [number]), copy.store.indices)
        load, store = (self._of_slab(copy.looped(each, over_elements=not whole), slab) for each in (load, store))
        return tirx.AllocBuffer(held), load, store

    @cached_property
    def _arrived(self) -> Buffer:
        """The barriers of tiles, one for each place of a slab."""
        return tirx.decl_buffer([self._stages], _BARRIER, "arrived", scope=SHARED, layout=None)

    def _barrier_of(self, place: Scalar) -> Scalar:
        return tirx.address_of(tirx.BufferLoad(self._arrived, [place]))

    def _by_one(self, statements: Sequence[Stmt]) -> Stmt:
        """Statements that the first thread of a block runs."""
        own = [variable == 0 for tag, variable in self._places.items() if tag.startswith(_THREAD)]
        return tirx.IfThenElse(tirx.all(*own), sequence(statements), None)

    def _begun(self) -> list[Stmt]:
        """The barriers, before anything is asked for."""
        if not self._tiles:
            return []
        places = [self._barrier_of(tirx.IntImm("int32", place)) for place in range(self._stages)]
        begun = [called(self._names[TILES_BEGIN], place) for place in places]
        return [tirx.AllocBuffer(self._arrived), self._by_one([*begun, called(self._names[COPY_FENCE])]), barrier()]

    def _asked(self, slab: Scalar) -> list[Stmt]:
        """What one thread asks for of a slab."""
        if not self._tiles:
            return []
        arrived = self._barrier_of(self._loop.loop_var % self._stages)
        count = sum(each.bytes for each in self._tiles)
        asked = [called(self._names[TILES_EXPECT], arrived, tirx.IntImm("int32", count))]
        for tiles in self._tiles:
            asked += tiles.statements(arrived, self._names)
        return [self._by_one([self._of_slab(each, slab) for each in asked])]

    def _awaited(self, slab: Scalar) -> list[Stmt]:
        """Until the tiles of a slab are there."""
        if not self._tiles:
            return []
        phase = slab // self._stages % 2
        return [called(self._names[TILES_WAIT], self._barrier_of(slab % self._stages), phase)]

    def _shown(self) -> list[Stmt]:
        """What threads have copied is shown to units that read by themselves."""
        return [called(self._names[COPY_FENCE])] if self._late and (self._asynchronous or self._registers) else []

    def _of_slab(self, statement: Stmt, slab: Scalar) -> Stmt:
        """What is done with a slab that is not that of the loop."""
        placed = with_buffers(statement, self._twins, moved=self._moved(self._loop.loop_var))
        return _renewed(substituted(placed, {self._loop.loop_var: slab}))

    def _commit(self) -> list[Stmt]:
        return self._call(COPY_COMMIT)

    def _call(self, function: str) -> list[Stmt]:
        return [called(self._names[function])] if self._asynchronous else []


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

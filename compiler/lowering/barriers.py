"""Barriers between what threads of a block write to the memory that they share and what others read of it.

    for slab:                                     for slab:
        shared[thread] = ...                          barrier               others may still read the last slab
        sum += shared[...]                 ->         shared[thread] = ...
                                                      barrier
                                                      sum += shared[...]

A statement waits if it reads what was written since the last barrier, or writes what was read since then, or written by
another statement: one alone writes other elements in each of its turns.
Loops over slabs that are copied ahead (`copies_ahead.py`) have their barriers.
A loop is walked twice: what its end leaves is there when it begins again. Barriers stand where all threads of a block
come: between statements and in loops, in no branch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Op, PrimType, StringImm, TensorLoad

from ...annotations import AHEAD
from ...errors import CompilerError
from ...ir_types import Buffer, Node, PrimFunc, Stmt
from ...schedules.tensorir.rebuild import found, with_body
from ...tensorir_statements import flattened, sequence
from .launches import LAUNCH

BARRIER = "tirx.tvm_storage_sync"
SHARED = "shared"


def insert_barriers(function: PrimFunc) -> PrimFunc:
    """Puts barriers into the grids of a function whose buffers are flat."""
    if not any(each.buffer.scope() == SHARED for each in found(function.body, tirx.AllocBuffer)):
        return function

    def grid(statement: Stmt) -> Stmt:
        if statement.attr_key != LAUNCH or not _is_outermost(statement):
            return statement
        walk = _Walk(_views(function.body))
        return walk.statement(statement)

    def _is_outermost(statement: Stmt) -> bool:
        return not any(statement.same_as(each) for each in inner)

    inner: list[Stmt] = []
    for each in found(function.body, tirx.AttrStmt):
        if each.attr_key == LAUNCH:
            inner += [other for other in found(each.body, tirx.AttrStmt) if other.attr_key == LAUNCH]
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.AttrStmt, grid)))


def _views(body: Node) -> dict[Buffer, Buffer]:
    """Buffers under another name, by the buffer whose memory they are."""
    views: dict[Buffer, Buffer] = {}
    for each in found(body, tirx.DeclBuffer):
        if isinstance(each.data, Call) and each.data.args and isinstance(each.data.args[0], tirx.Buffer):
            views[each.buffer] = views.get(each.data.args[0], each.data.args[0])
    return views


@dataclass
class _Since:
    """What was read and written of shared memory since the last barrier, and by which statements."""

    read: set[Buffer] = field(default_factory=set)
    written: dict[Buffer, set[int]] = field(default_factory=dict)

    def conflicts(self, other: _Since) -> bool:
        """Whether what comes next has to wait for what was."""
        reads = any(each in self.written for each in other.read)
        return reads or any(
            each in self.read or self.written.get(each, set()) - by for each, by in other.written.items()
        )

    def add(self, other: _Since) -> None:
        """Notes what came next."""
        self.read |= other.read
        for each, by in other.written.items():
            self.written[each] = self.written.get(each, set()) | by


class _Walk:
    """Walks through a grid's statements in the order in which they run."""

    def __init__(self, views: dict[Buffer, Buffer]) -> None:
        self._views = views
        self._since = _Since()

    def statement(self, node: Stmt) -> Stmt:
        """The statement with barriers, those before it included."""
        if isinstance(node, tirx.SeqStmt):
            return sequence([inner for each in node.seq for inner in flattened(self.statement(each))])
        if isinstance(node, tirx.AttrStmt):
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        own = self._accesses(node)
        by_itself = isinstance(node, tirx.For) and AHEAD.of(node) is not None
        if isinstance(node, tirx.For) and own.written and not by_itself:
            before = _Since(set(self._since.read), dict(self._since.written))
            self.statement(node.body)
            self._since.add(before)  # a turn comes after what was before the loop, or after another turn
            return with_body(node, self.statement(node.body))
        if not (isinstance(node, tirx.BufferStore) or by_itself) and own.read & own.written.keys():
            raise CompilerError("threads would have to wait for each other in a branch that some of them take")
        if self._since.conflicts(own):
            self._since = own
            return tirx.SeqStmt([barrier(), node])
        self._since.add(own)
        return node

    def _accesses(self, node: Stmt) -> _Since:
        loads = (each.source for each in found(node, TensorLoad))
        stores = (each.buffer for each in found(node, tirx.BufferStore))
        return _Since(self._shared(loads), {each: {hash(node)} for each in self._shared(stores)})

    def _shared(self, buffers: Iterable[Buffer]) -> set[Buffer]:
        own: list[Buffer] = [self._views.get(each, each) for each in buffers]
        return {each for each in own if each.scope() == SHARED}


def barrier() -> Stmt:
    """All threads of a block wait for each other."""
    return tirx.Evaluate(Call(Op.get(BARRIER), [StringImm(SHARED)], ret_ty=PrimType("int32")))

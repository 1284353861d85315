"""The last step of lowering: hidden float operators become instructions, long chains of several vectors in turn.

A SiLU is twenty operations, each of which waits for the one before. A processor that looks a hundred instructions ahead
sees little more than two or three such chains if they stand one after the other, and its units are idle most of the
time. In turn they keep them busy:

    out[0:8]  = f3(f2(f1(a[0:8])))              x = f1(a[0:8])
    out[8:16] = f3(f2(f1(a[8:16])))      ->     y = f1(a[8:16])
                                                x2 = f2(x)
                                                ...

Nothing simplifies the result: x + c - c, which rounds x, stays.

Where few registers hold neither many chains nor their constants, the functions of many stores are a loop over memory:

    out[0:8]  = b[0:8] + f(a[0:8])              held[0:8] = a[0:8];  ...;  held[56:64] = a[56:64]
    ...                                  ->     for i in 2:  four chains in turn of held[32 * i + ...] = f(held[...])
    out[56:64] = b[56:64] + f(a[56:64])         out[0:8] = b[0:8] + held[0:8];  ...
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad
from tvm.target import codegen

from ...hidden_floats import PREFIX, dtype_of, name_of
from ...ir_types import For, Node, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.expressions import largest_divisor
from ...schedules.tensorir.rebuild import found, renewed, substituted, with_body
from ...targets.target import TargetFunction
from .float_steps import Steps, functions_in, has_hidden, sequence

# Two units with a latency of four cycles are busy with eight. Results that have no register wait in the L1 cache.
_WAYS = 8
# Of long chains (erf, GELU; not SiLU) LLVM puts the steps one after the other again where so many need more registers
# than there are: four take 0.8 of the time where there are 16. In a loop, which it does not take apart, constants are
# read once for four vectors: of 12 a GELU takes 13.1 instead of 16.4 cycles each.
_LONG, _WAYS_OF_LONG, ENOUGH_REGISTERS = 27, 4, 32
_MULTIPLY_ADDS = ("fmuladd", "fma")


def write_out(
    function: PrimFunc, functions: Sequence[TargetFunction] = (), registers: int = ENOUGH_REGISTERS
) -> PrimFunc:
    """A lowered function without hidden operators.

    Args:
        functions: of the target, which are called where there is one.
        registers: for vectors.
    """
    if not has_hidden(function.body):
        return function
    named = {(f"{PREFIX}{each.operator}", each.lanes): each.name for each in functions}
    return function.with_body(_Writer(named, registers).statement(function.body))


def ask_for_fma(function: PrimFunc) -> PrimFunc:
    """A function that is written out, whose multiply-adds are rounded once because it says so.

    ``llvm.fmuladd`` leaves that to LLVM, which thinks little of some processors' instruction.
    """
    either, fused = (tirx.IntImm("uint32", codegen.llvm_lookup_intrinsic_id(f"llvm.{name}")) for name in _MULTIPLY_ADDS)

    def change(call: Call) -> Node:
        is_it = "call_llvm_pure_intrin" in str(call.op) and int(call.args[0]) == int(either)
        return Call(call.op, [fused, *list(call.args)[1:]], ret_ty=call.ty) if is_it else call

    return function.with_body(tvm_ffi.structural_map(function.body, (Call, change), order="post"))


@dataclass(frozen=True)
class _Writer:
    """Writes out statements; `functions` are the target's own, by operators and lanes, `registers` those of vectors."""

    functions: Mapping[tuple[str, int], str]
    registers: int

    def statement(self, node: Node) -> Node:
        """The statement without hidden operators."""
        if isinstance(node, tirx.SeqStmt):
            return self._in_turn(list(node.seq))
        if isinstance(node, tirx.For):
            loop = _widened(node)
            return with_body(loop, self.statement(loop.body))
        if isinstance(node, tirx.While):  # what it turns on are whole numbers
            return tirx.While(node.condition, self.statement(node.body))
        if isinstance(node, tirx.AttrStmt):
            return tirx.AttrStmt(node.node, node.attr_key, node.value, self.statement(node.body))
        if isinstance(node, tirx.IfThenElse):
            steps = Steps(self.functions)
            condition = steps.value(node.condition)
            otherwise = None if node.else_case is None else self.statement(node.else_case)
            return sequence([*steps.all(), tirx.IfThenElse(condition, self.statement(node.then_case), otherwise)])
        return sequence(self._written(node)) if has_hidden(node) else node

    def _written(self, node: Node) -> list[Stmt]:
        """A statement without a body, and the steps before it."""
        steps = Steps(self.functions)
        if isinstance(node, tirx.BufferStore):
            indices = [steps.value(index) for index in node.indices]
            last: Stmt = tirx.BufferStore(node.buffer, steps.value(node.value), indices)
        elif isinstance(node, tirx.Bind):
            last = tirx.Bind(node.var, steps.value(node.value))
        else:
            last = tirx.Evaluate(steps.value(node.value))
        return [*steps.all(), last]

    def _in_turn(self, sequence_of: list[Stmt]) -> Stmt:
        """Statements one after the other; of long stores that may change places, the steps in turn."""
        statements: list[Stmt] = []
        run: list[Stmt] = []

        def finish() -> None:
            if run:
                statements.extend(self._run(run))
            run.clear()

        for statement in sequence_of:
            is_long = _is_long(statement)
            free = is_long or isinstance(statement, tirx.Bind)
            if run and (not free or _depends(statement, run)):
                finish()
            if is_long:
                run.append(statement)
            else:
                statements.append(self.statement(statement))  # bindings come before the stores between which they stand
        finish()
        return sequence(statements)

    def _run(self, stores: list[Stmt]) -> list[Stmt]:
        """Long stores that may change places: so many in turn, then the next ones."""
        ways = _WAYS
        if self._are_too_long(stores[0]):
            calls = [functions_in(store.value) for store in stores]
            loop_ways = largest_divisor(len(stores), _WAYS_OF_LONG)
            if 1 < loop_ways < len(stores) and len({tuple(map(_kind, each)) for each in calls}) == len(calls[0]) == 1:
                return self._looped(stores, [call for (call,) in calls], loop_ways)
            ways = _WAYS_OF_LONG
        groups = -(-len(stores) // ways)
        cuts = [len(stores) * group // groups for group in range(groups + 1)]
        return [each for first, end in itertools.pairwise(cuts) for each in self._together(stores[first:end])]

    def _are_too_long(self, store: Stmt) -> bool:
        """Whether many such stores in turn need more registers than there are."""
        if self.registers >= ENOUGH_REGISTERS:
            return False
        chain = Steps(self.functions, every=True)
        chain.value(store.value)
        return len(chain.statements) > _LONG

    def _looped(self, stores: list[Stmt], calls: list[Call], ways: int) -> list[Stmt]:
        """Stores with a call each of one function, which a loop computes, so many of them at a time."""
        dtype, _, lanes = dtype_of(calls[0]).partition("x")
        held = tirx.decl_buffer([len(stores) * int(lanes)], dtype, "held", scope="local")
        turn = tirx.Var("turn", "int32")

        def places(way: int | Scalar) -> list[Scalar]:
            return [tirx.Ramp(way * int(lanes), 1, int(lanes))]

        def results(way: int | Scalar) -> Scalar:
            return tirx.BufferLoad(held, places(way))

        given = [tirx.BufferStore(held, call.args[0], places(way)) for way, call in enumerate(calls)]
        each, kind = [turn * ways + way for way in range(ways)], calls[0]
        computed = [Call(kind.op, [results(way)], kind.attrs, ret_ty=kind.ty) for way in each]
        body = [tirx.BufferStore(held, call, places(way)) for way, call in zip(each, computed, strict=True)]
        rest = [
            tirx.BufferStore(store.buffer, _replaced(store.value, call, results(way)), store.indices)
            for way, (store, call) in enumerate(zip(stores, calls, strict=True))
        ]
        loop = tirx.For(turn, 0, len(stores) // ways, tirx.ForKind.SERIAL, sequence(self._together(body)))
        return [tirx.AllocBuffer(held), *map(self.statement, given), loop, *map(self.statement, rest)]

    def _together(self, stores: list[Stmt]) -> list[Stmt]:
        chains = [Steps(self.functions, every=True) for _ in stores]
        indices = [[chain.value(index) for index in store.indices] for chain, store in zip(chains, stores, strict=True)]
        values = [chain.value(store.value) for chain, store in zip(chains, stores, strict=True)]
        if len({len(chain.statements) for chain in chains}) > 1:
            return [statement for store in stores for statement in self._written(store)]
        turns = zip(*(chain.statements for chain in chains), strict=True)
        return [
            *(statement for turn in turns for step in turn for statement in step),
            *(
                tirx.BufferStore(store.buffer, value, at)
                for store, value, at in zip(stores, values, indices, strict=True)
            ),
        ]


def _widened(loop: For) -> Stmt:
    """A loop over one long store, several of its iterations at a time."""
    extent = loop.extent
    *binds, store = list(loop.body.seq) if isinstance(loop.body, tirx.SeqStmt) else [loop.body]
    plain = loop.kind == tirx.ForKind.SERIAL and loop.step is None and isinstance(extent, tirx.IntImm)
    if not plain or not _is_long(store) or not all(isinstance(bind, tirx.Bind) for bind in binds):
        return loop
    ways = largest_divisor(int(extent), _WAYS)
    if ways == 1 or _depends(store, [store]):  # a sum: each iteration waits for the one before
        return loop
    base = tirx.Var(loop.loop_var.name, loop.loop_var.ty)

    def iteration(way: int) -> Stmt:
        values = {loop.loop_var: loop.min + base * ways + way}
        for bind in binds:
            values[bind.var] = substituted(bind.value, values)
        return renewed(substituted(store, values))  # code generation wants one value for each name

    body = tirx.SeqStmt([iteration(way) for way in range(ways)])
    return tirx.For(base, 0, int(extent) // ways, loop.kind, body, annotations=dict(loop.annotations))


def _is_long(statement: Stmt) -> bool:
    """Whether it stores a vector with a function that is written out."""
    is_store = isinstance(statement, tirx.BufferStore)
    return is_store and "x" in dtype_of(statement.value) and len(functions_in(statement.value)) > 0


def _kind(call: Call) -> tuple[str, str]:
    """What is called on what."""
    return name_of(call), dtype_of(call)


def _replaced(value: Scalar, call: Call, result: Scalar) -> Scalar:
    def change(each: Call) -> Node:
        return result if each.same_as(call) else each

    return tvm_ffi.structural_map(value, (Call, change), order="pre")


def _depends(statement: Stmt, run: list[Stmt]) -> bool:
    """Whether a store reads what one of the run writes."""
    loads = found(statement.value, TensorLoad)
    return any(load.source.same_as(each.buffer) for load in loads for each in run)

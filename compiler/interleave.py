"""Long chains of arithmetic for several vectors, step by step in turn.

A SiLU is twenty operations, each of which waits for the one before. A processor that looks a hundred instructions ahead
sees little more than two or three such chains if they stand one after the other, and its units are idle most of the
time. In turn they keep them busy:

    out[0:8]  = f3(f2(f1(a[0:8])))              x = f1(a[0:8])
    out[8:16] = f3(f2(f1(a[8:16])))      ->     y = f1(a[8:16])
                                                x2 = f2(x)
                                                ...
"""

from __future__ import annotations

from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, TensorLoad

from ..schedules.expressions import largest_divisor
from ..schedules.rebuild import count_names, substituted

# Two units with a latency of four cycles are busy with eight. Results that have no register wait in the L1 cache.
_WAYS = 8
# Names in one function that was written out, and a conversion. Chains of several functions are left as they are: TVM's
# code generator puts the value of a binding wherever it is used, and that of the next, before it simplifies it.
_MAX_NAMES = 8
_BINARY = (tirx.Add, tirx.Sub, tirx.Mul, tirx.Div, tirx.Min, tirx.Max)
_COMPARISONS = (tirx.LT, tirx.LE, tirx.GT, tirx.GE, tirx.EQ, tirx.NE)
_CALLS = ("tirx.reinterpret", "tirx.shift_left", "tirx.call_llvm_pure_intrin")

Steps = list[tuple[Any, Any]]


def interleave(function: Any) -> Any:
    """Interleaves stores of vectors that follow each other, or that a loop makes, where their chains are long."""
    if not count_names(function.body):
        return function
    changes = [(tirx.For, _widened), (tirx.SeqStmt, _interleaved)]
    return function.with_body(tvm_ffi.structural_map(function.body, changes))


def _widened(loop: Any) -> Any:
    """A loop over one store, several of its iterations at a time."""
    extent = loop.extent
    *binds, store = list(loop.body.seq) if isinstance(loop.body, tirx.SeqStmt) else [loop.body]
    plain = loop.kind == tirx.ForKind.SERIAL and loop.step is None and isinstance(extent, tirx.IntImm)
    if not plain or not _is_long(store):
        return loop
    ways = largest_divisor(int(extent), _WAYS)
    if ways == 1 or not all(isinstance(bind, tirx.Bind) for bind in binds):
        return loop
    base = tirx.Var(loop.loop_var.name, loop.loop_var.ty)

    def iteration(way: int) -> Any:
        values = {loop.loop_var: loop.min + base * ways + way}
        for bind in binds:
            values[bind.var] = substituted(bind.value, values)
        return substituted(store, values)

    copies = tirx.SeqStmt([iteration(way) for way in range(ways)])
    body = _interleaved(copies)
    if body is copies:  # each waits for the one before: a sum, whose copies would define the same names
        return loop
    return tirx.For(base, 0, int(extent) // ways, loop.kind, body, annotations=dict(loop.annotations))


def _interleaved(sequence: Any) -> Any:
    """Long stores that may change places, in turn; bindings between them come first."""
    statements: list[Any] = []
    run: list[Any] = []

    def finish() -> None:
        groups = -(-len(run) // _WAYS)
        for group in range(groups):
            statements.extend(_in_turn(run[len(run) * group // groups : len(run) * (group + 1) // groups]))
        run.clear()

    for statement in sequence.seq:
        is_long = _is_long(statement)
        free = is_long or isinstance(statement, tirx.Bind)
        if run and (not free or _depends(statement, run)):
            finish()
        (run if is_long else statements).append(statement)
    finish()
    return tirx.SeqStmt(statements) if len(statements) != len(sequence.seq) else sequence


def _is_long(statement: Any) -> bool:
    """Whether it stores a vector with a function that was written out: those define names."""
    is_vector = isinstance(statement, tirx.BufferStore) and "x" in str(statement.value.ty.dtype)
    return is_vector and 0 < count_names(statement.value) <= _MAX_NAMES


def _depends(statement: Any, run: list[Any]) -> bool:
    """Whether a store reads what one of the run writes."""
    loads: list[Any] = []
    tvm_ffi.structural_walk(statement.value, (TensorLoad, loads.append))
    return any(load.source.same_as(each.buffer) for load in loads for each in run)


def _in_turn(stores: list[Any]) -> list[Any]:
    if len(stores) == 1:
        return stores
    chains = [_steps(store.value) for store in stores]
    if len({len(steps) for steps, _ in chains}) > 1:
        return stores
    turns = zip(*(steps for steps, _ in chains), strict=True)
    binds = [tirx.Bind(variable, value) for turn in turns for variable, value in turn]
    return binds + [
        tirx.BufferStore(store.buffer, result, store.indices) for store, (_, result) in zip(stores, chains, strict=True)
    ]


def _steps(value: Any) -> tuple[Steps, Any]:
    """The operations of a vector's value in the order of their evaluation, and its last operand."""
    steps: Steps = []
    known: dict[Any, Any] = {}

    def named(node: Any) -> Any:
        variable = tirx.Var("step", node.ty)
        steps.append((variable, node))
        return variable

    def visit(node: Any) -> Any:
        if isinstance(node, tirx.Let):
            known[node.var] = visit(node.value)
            return visit(node.body)
        if isinstance(node, _COMPARISONS):
            return type(node)(visit(node.a), visit(node.b))
        if not isinstance(node.ty, tvm.ir.PrimType) or "x" not in str(node.ty.dtype):
            return substituted(node, known) if known else node
        if isinstance(node, _BINARY):
            return named(type(node)(visit(node.a), visit(node.b)))
        if isinstance(node, tirx.Select):
            return named(tirx.Select(visit(node.condition), visit(node.true_value), visit(node.false_value)))
        if isinstance(node, tirx.Cast):
            return named(tirx.Cast(node.ty.dtype, visit(node.value)))
        if isinstance(node, Call) and str(node.op.name) in _CALLS:
            return named(Call(node.op, [visit(arg) for arg in node.args], node.attrs, ret_ty=node.ty))
        return substituted(node, known)

    return steps, visit(value)

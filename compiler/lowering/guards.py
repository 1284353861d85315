"""Sums that are added to under a condition: the condition around the addition, once for neighbours that share it.

    s[0] = s[0] + a if i and j else s[0]              if i:
    s[1] = s[1] + b if i else s[1]             ->         if j: s[0] = s[0] + a
    s[2] = s[2] + c if i else s[2]                        s[1] = s[1] + b
                                                          s[2] = s[2] + c

A loop over one store that is a choice between two values, the same one for all iterations, becomes two loops: a copy of
a line into a band and zeros beside it are those that C compilers know.

For code that computes one number at a time, where a branch that is taken for all is cheaper than a choice for each. The
rows of a window that lie in the padding are skipped by one.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...hidden_floats import name_of
from ...ir_types import PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import found, mentions, substituted, with_body

_CHOICE = "prim.if_then_else"
# A statement, and the conditions that all have to hold for it.
_Guarded = tuple[list[Scalar], Stmt]


def share_guards(function: PrimFunc) -> PrimFunc:
    """Puts conditional additions into branches."""
    changes = [
        (tirx.BufferStore, lambda store: _joined([_guarded(store)])),
        (tirx.SeqStmt, _sequence),
        (tirx.For, _two_loops),
    ]
    return function.with_body(tvm_ffi.structural_map(function.body, changes, order="post"))


def _sequence(statements: Stmt) -> Stmt:
    """A sequence whose stores are branches already."""
    return _joined([guarded for each in statements.seq for guarded in _opened(each)])


def _two_loops(loop: Stmt) -> Stmt:
    """A loop over a choice that does not depend on it."""
    store = loop.body
    if isinstance(store, tirx.For) or not isinstance(store, (tirx.BufferStore, tirx.IfThenElse)):
        return loop
    if isinstance(store, tirx.IfThenElse):  # of loops inside, which has come out of them
        condition, bodies = store.condition, [store.then_case, store.else_case]
        if store.else_case is None or not all(isinstance(each, tirx.For) for each in bodies):
            return loop
    elif name_of(store.value) == _CHOICE:
        condition, *values = store.value.args
        bodies = [tirx.BufferStore(store.buffer, value, list(store.indices)) for value in values]
    else:
        return loop
    if mentions(condition, [loop.loop_var]) or found(condition, TensorLoad):
        return loop
    return tirx.IfThenElse(condition, with_body(loop, bodies[0]), _renamed(with_body(loop, bodies[1])))


def _renamed(loop: Stmt) -> Stmt:
    """The loop over a variable of its own: no two loops share one."""
    variable = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
    body = substituted(loop.body, {loop.loop_var: variable})
    return tirx.For(variable, loop.min, loop.extent, loop.kind, body, annotations=dict(loop.annotations))


def _opened(statement: Stmt) -> list[_Guarded]:
    """A statement, taken out of branches that `_joined` made of one store."""
    conditions = []
    inside = statement
    while isinstance(inside, tirx.IfThenElse) and inside.else_case is None and not found(inside.condition, TensorLoad):
        conditions.append(inside.condition)
        inside = inside.then_case
    return [(conditions, inside)] if isinstance(inside, tirx.BufferStore) else [([], statement)]


def _guarded(store: Stmt) -> _Guarded:
    """The conditions under which a store changes anything."""
    conditions: list[Scalar] = []
    value = store.value
    if isinstance(value, tirx.Add) and name_of(value.b) == _CHOICE and _is_zero(value.b.args[2]):
        # Integers, that nothing is added to: of floats it would be 0.0, which makes 0.0 of -0.0.
        condition, added, _ = value.b.args
        value = tirx.if_then_else(condition, value.a + added, value.a)
    while name_of(value) == _CHOICE and _is_kept(value.args[2], store) and not found(value.args[0], TensorLoad):
        conditions += _conjuncts(value.args[0])
        value = value.args[1]
    return conditions, tirx.BufferStore(store.buffer, value, list(store.indices)) if conditions else store


def _is_zero(value: Scalar) -> bool:
    value = value.value if isinstance(value, tirx.Broadcast) else value
    return isinstance(value, tirx.IntImm) and int(value) == 0


def _is_kept(value: Scalar, store: Stmt) -> bool:
    """Whether a value is what stands already in the place that is stored to."""
    return (
        isinstance(value, TensorLoad)
        and value.source.same_as(store.buffer)
        and all(map(tvm_ffi.structural_equal, value.indices, store.indices))
    )


def _conjuncts(condition: Scalar) -> list[Scalar]:
    if isinstance(condition, tirx.And):
        return [*_conjuncts(condition.a), *_conjuncts(condition.b)]
    return [condition]


def _joined(statements: list[_Guarded]) -> Stmt:
    """Statements one after the other, neighbours with a condition in common in one branch."""
    done: list[Stmt] = []
    position = 0
    while position < len(statements):
        conditions, statement = statements[position]
        if not conditions:
            done.append(statement)
            position += 1
            continue
        condition = max(conditions, key=lambda each: _run(statements[position:], each))
        end = position + _run(statements[position:], condition)
        inside = [(_without(own, condition), each) for own, each in statements[position:end]]
        done.append(tirx.IfThenElse(condition, _joined(inside), None))
        position = end
    return done[0] if len(done) == 1 else tirx.SeqStmt(done)


def _run(statements: list[_Guarded], condition: Scalar) -> int:
    """How many of the first statements have a condition."""
    for number, (conditions, _) in enumerate(statements):
        if not any(tvm_ffi.structural_equal(each, condition) for each in conditions):
            return number
    return len(statements)


def _without(conditions: list[Scalar], condition: Scalar) -> list[Scalar]:
    return [each for each in conditions if not tvm_ffi.structural_equal(each, condition)]

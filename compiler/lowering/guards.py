"""Sums that are added to under a condition: the condition around the addition, once for neighbours that share it.

    s[0] = s[0] + a if i and j else s[0]              if i:
    s[1] = s[1] + b if i else s[1]             ->         if j: s[0] = s[0] + a
    s[2] = s[2] + c if i else s[2]                        s[1] = s[1] + b
                                                          s[2] = s[2] + c

A loop over one store that is a choice between two values becomes several loops, where the choice is the same for all
iterations, or for all from one to another: a copy of a line into a band, zeros around it, and zeros instead of it.

For code that computes one number at a time, where a branch that is taken for all is cheaper than a choice for each. The
rows of a window that lie in the padding are skipped by one.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...hidden_floats import name_of
from ...ir_types import PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import found, mentions, renewed, substituted

_CHOICE = "prim.if_then_else"
# A statement, and the conditions that all have to hold for it.
_Guarded = tuple[list[Scalar], Stmt]


def share_guards(function: PrimFunc) -> PrimFunc:
    """Puts conditional additions into branches."""
    changes = [
        (tirx.BufferStore, lambda store: _joined([_guarded(store)])),
        (tirx.SeqStmt, _sequence),
        (tirx.For, _loops_of_choice),
    ]
    return function.with_body(tvm_ffi.structural_map(function.body, changes, order="post"))


def _sequence(statements: Stmt) -> Stmt:
    """A sequence whose stores are branches already."""
    return _joined([guarded for each in statements.seq for guarded in _opened(each)])


def _loops_of_choice(loop: Stmt) -> Stmt:
    """A loop over a choice, as one over each value."""
    store = loop.body
    if isinstance(store, tirx.IfThenElse):  # of loops inside, which has come out of them
        condition, values = store.condition, [store.then_case, store.else_case]
        if not all(isinstance(each, tirx.For) for each in values):
            return loop
    elif isinstance(store, tirx.BufferStore) and name_of(store.value) == _CHOICE:
        condition, *chosen = store.value.args
        values = [tirx.BufferStore(store.buffer, value, list(store.indices)) for value in chosen]
    else:
        return loop
    if found(condition, TensorLoad) or not isinstance(loop.extent, tirx.IntImm):  # or it ends where a size says
        return loop
    outside, first, end = [], 0, int(loop.extent)
    for each in _conjuncts(condition):
        if not mentions(each, [loop.loop_var]):
            outside.append(each)
            continue
        # Threads share a loop from 0 on, and begin together once.
        bounds = None if loop.kind == tirx.ForKind.PARALLEL else _bounds(each, loop.loop_var, end)
        if bounds is None or not isinstance(loop.min, tirx.IntImm) or int(loop.min):
            return loop
        first, end = max(first, bounds[0]), min(end, bounds[1])
    then, otherwise = values
    parts = [(otherwise, 0, first), (then, first, end), (otherwise, end, int(loop.extent))]
    inside = [_part(loop, *part) for part in parts if part[1] < part[2]]
    chosen = inside[0] if len(inside) == 1 else tirx.SeqStmt(inside)
    if not outside:
        return chosen
    return tirx.IfThenElse(tirx.all(*outside), chosen, _part(loop, otherwise, 0, int(loop.extent)))


def _bounds(condition: Scalar, variable: Scalar, extent: int) -> tuple[int, int] | None:
    """From where to where a condition on a variable alone holds."""
    turned = {tirx.GT: tirx.LT, tirx.GE: tirx.LE}.get(type(condition))
    if turned is not None:
        condition = turned(condition.b, condition.a)
    if not isinstance(condition, tirx.LT | tirx.LE):
        return None
    equal = isinstance(condition, tirx.LE)
    if condition.a.same_as(variable) and isinstance(condition.b, tirx.IntImm):
        return 0, int(condition.b) + equal
    if condition.b.same_as(variable) and isinstance(condition.a, tirx.IntImm):
        return int(condition.a) + (not equal), extent
    return None


def _part(loop: Stmt, body: Stmt, first: int, end: int) -> Stmt:
    """Some iterations of a loop, of another body, over a variable of its own: no two loops share one."""
    variable = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
    kind = str(loop.loop_var.ty.dtype)
    body = substituted(renewed(body), {loop.loop_var: variable})
    begin, extent = (tirx.IntImm(kind, value) for value in (first, end - first))
    return tirx.For(variable, begin, extent, loop.kind, body, annotations=dict(loop.annotations))


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

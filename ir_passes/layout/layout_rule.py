"""What a rule of channels_last is, and the one for operators that have none."""

from __future__ import annotations

from collections.abc import Callable

from tvm import relax

from ...ir_types import Call
from ..core.graph import Var
from ..core.permutation import identity
from .layout_state import LayoutState, Stored

# Gets the state, the old binding's variable and its call (in terms of old variables), emits the call anew, and says
# how its result is stored.
Rule = Callable[[LayoutState, Var, Call], Stored]


def opaque(state: LayoutState, var: Var, value: Call) -> Stored:
    """Operators without a rule: operands and results in the model's order."""
    if isinstance(value, relax.TupleGetItem):
        stored = state.stored(value.tuple_value)
        item = relax.TupleGetItem(stored.expr, value.index)
        orders = stored.order
        if orders[value.index] != identity(len(orders[value.index])):
            return Stored(state.emit(item, var.name), orders[value.index])
    expr = state.keep(var, value)
    return Stored(expr, state.stored(var).order)

"""What constants alone decide of a tensor whose length varies: places that a model counts, to take elements from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import tvm

from ...ir_types import Expr
from ..core.constants import Array, array_of
from ..dialect.evaluation import evaluate
from ..dialect.sized import COUNTED
from .step import operator_name, shape_of

MadeBy: TypeAlias = Callable[[Expr], "Expr | None"]
# Of what is there they compute the same, whatever the sizes are: nothing that is not there is read for it.
_ELEMENT_BY_ELEMENT = frozenset(
    (
        *("add", "astype", "broadcast_to", "concat", "expand_dims", "maximum", "minimum", "multiply", "permute_dims"),
        *("reshape", "squeeze", "subtract", COUNTED.removeprefix("relax.")),
    )
)


def known(expr: Expr, made_by: MadeBy) -> Array | None:
    """The values of an expression at the largest sizes, of which as much as is there holds at all sizes.

    Args:
        expr: an operand.
        made_by: what a variable is bound to; None for an input.

    Returns: None where an input, or a size, decides.
    """
    array = array_of(expr)
    if array is not None:
        return array
    call = made_by(expr)
    if not isinstance(call, tvm.ir.Call) or operator_name(call) not in _ELEMENT_BY_ELEMENT:
        return None
    operands = []
    for argument in call.args:
        for each in argument.fields if isinstance(argument, tvm.relax.Tuple) else [argument]:
            if isinstance(each, tvm.relax.ShapeExpr):
                continue
            operand = known(each, made_by)
            if operand is None:
                return None
            operands.append(operand)
    return evaluate(call, operands)


def column(expr: Expr, number: int, made_by: MadeBy) -> Array | None:
    """The same of one place along the last axis: of pairs the first may be known, where data says the second."""
    array = known(expr, made_by)
    if array is not None:
        return array[..., number]
    call = made_by(expr)
    rank = len(shape_of(expr.ty))
    if not isinstance(call, tvm.ir.Call) or operator_name(call) != "concat" or int(call.attrs.axis) % rank != rank - 1:
        return None
    for part in call.args[0].fields:
        width = shape_of(part.ty)[-1]
        if number < width:
            return column(part, number, made_by)
        number -= width
    return None

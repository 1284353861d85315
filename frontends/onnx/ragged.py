"""Results whose size depends on data: their largest size is planned, and their real one is another output.

They can be outputs of the model, and pass through operators that look at one element at a time, of several such tensors
of one size, or of one and single elements. Whatever else takes one would need loops whose lengths are known when the
model runs, and is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import te, tirx, topi

from ...ir_types import Scalar
from .in_flight import Ragged
from .node import Expr, Node, Result, Value

_ELEMENTWISE = frozenset(
    (
        *("Identity", "Cast", "Neg", "Abs", "Sign", "Reciprocal", "Sqrt", "Exp", "Log", "Floor", "Ceil", "Round"),
        *("Relu", "LeakyRelu", "Elu", "Selu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "Softplus"),
        *("Softsign", "Erf", "Sin", "Cos", "Not", "BitwiseNot", "IsNaN", "IsInf", "Clip", "Where"),
        *("Add", "Sub", "Mul", "Div", "Mod", "Pow", "Min", "Max", "Sum", "Mean"),
        *("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Xor"),
        *("BitwiseAnd", "BitwiseOr", "BitwiseXor"),
    )
)


def passed_on(node: Node, converter: Callable[[Node], Result] | None) -> Sequence[Value] | None:
    """The outputs of an operator that is given a ragged tensor; None if it is given none.

    Raises:
        UnsupportedError: the operator does more than look at one element at a time.
    """
    given = next((value for value in node.inputs if isinstance(value, Ragged)), None)
    if given is None:
        return None
    hint = "make that tensor an output, and do this step after the model"
    if converter is None or node.op_type not in _ELEMENTWISE:
        raise node.unsupported("the size of its input depends on data, and is known when the model runs", hint)
    if not all(_goes_along(node, index, given) for index in range(len(node.inputs))):
        other = "another input is neither one element nor as large for sure"
        raise node.unsupported(f"the size of its input depends on data, and {other}", hint)
    result = converter(node.with_inputs([each.values if isinstance(each, Ragged) else each for each in node.inputs]))
    value = result[0] if isinstance(result, list | tuple) else result
    return [Ragged(node.emit(value), given.extents)]


def _goes_along(node: Node, index: int, given: Ragged) -> bool:
    """Whether each element of a ragged tensor meets one of an input that is known: elements lie densely in both."""
    value = node.inputs[index]
    if isinstance(value, Ragged):
        return bool(value.extents.same_as(given.extents))
    return not node.has(index) or (math.prod(node.shape(index)) == 1 and len(node.shape(index)) <= given.rank)


def extents_of(node: Node, count: Expr, shape: Sequence[int], axis: int) -> Expr:
    """A shape as int64[rank], in which an axis has as many elements as `count` (int64[1]) says."""

    def extents(number: te.Tensor) -> te.Tensor:
        def element(place: Scalar) -> Scalar:
            value: Scalar = tirx.const(0, "int64")
            for each, extent in enumerate(shape):
                known = number(0) if each == axis else tirx.const(extent, "int64")
                value = tirx.Select(place == each, known, value)
            return value

        return te.compute((len(shape),), element, name="extents")

    return node.emit_te(extents, count)


def chosen(node: Node, x: Expr, places: Expr, count: Expr) -> Expr:
    """[outer, n, inner] with the first `count` of the places in the middle, densely: flat, with room for all."""

    def choose(a: te.Tensor, place: te.Tensor, number: te.Tensor) -> te.Tensor:
        outer, extent, inner = (int(each) for each in a.shape)
        room = int(place.shape[0])

        def element(j: Scalar) -> Scalar:
            there = tirx.max(number(0), tirx.const(1, "int64"))
            row = tirx.indexdiv(j, inner)
            o = tirx.min(tirx.floordiv(row, there), outer - 1)
            k = tirx.min(tirx.floormod(row, there), room - 1)
            at = tirx.max(tirx.min(place(k), extent - 1), tirx.const(0, "int64"))
            return a(o, at, tirx.indexmod(j, inner))

        return te.compute((outer * room * inner,), element, name="choose", tag=topi.tag.INJECTIVE)

    return node.emit_te(choose, x, places, count)

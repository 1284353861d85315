"""Relax's slices as Python's: who evaluates, simplifies or lowers `relax.strided_slice` reads it here."""

from __future__ import annotations

from tvm import relax, tirx

from .ir_types import Call, Expr


def integers(expr: Expr) -> list[int] | None:
    """The numbers of a tuple of whole numbers; None where one is not known when the model is compiled."""
    fields = expr.fields if isinstance(expr, relax.Tuple) else None
    if fields is None or not all(isinstance(field, tirx.IntImm) for field in fields):
        return None
    return [int(field) for field in fields]


def slices(call: Call, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
    """What a `relax.strided_slice` takes along each axis of an operand of this shape; None unless all is known.

    Bounds are counted from the start and lie within the axis, as ONNX clamps them: `array[slices(...)]` is the result.
    """
    given = [integers(argument) for argument in list(call.args)[1:]]
    if any(numbers is None for numbers in given):
        return None
    axes, begins, ends, *steps = (numbers or [] for numbers in given)
    found = [slice(0, extent, 1) for extent in shape]
    for axis, begin, end, step in zip(axes, begins, ends, *(steps or [[1] * len(axes)]), strict=True):
        found[axis % len(shape)] = _along(shape[axis % len(shape)], begin, end, step)
    return tuple(found)


def _along(extent: int, begin: int, end: int, step: int) -> slice:
    first, last = (bound + extent if bound < 0 else bound for bound in (begin, end))
    if step > 0:
        return slice(min(max(first, 0), extent), min(max(last, 0), extent), step)
    last = min(last, extent - 1)
    return slice(min(max(first, 0), extent - 1), last if last >= 0 else None, step)

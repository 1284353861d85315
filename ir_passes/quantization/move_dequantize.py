"""What only moves a tensor moves its integers: a dequantize goes behind it, and meets the quantize that undoes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls, made_by, only_use
from ..core.rewriter import Rewriter, dtype_of, rewrite
from ..dialect.quantize import QUANTIZE, dequantize, quantize, range_of
from ..operators.canonical_moves import RESHAPES
from .quantized_values import (
    CHOICES,
    Dequantized,
    as_array,
    dequantized,
    is_move,
    moved,
    moved_array,
    same_parameter,
    size_of,
)


@dataclass(frozen=True)
class MoveDequantize(GraphPass):
    """Moves of dequantized tensors become dequantized moves; quantizing what was dequantized by the same is nothing.

    What is quantized by one scale after it got another shape is quantized before, where the floats are made.

    Contract: outputs keep values, dtypes and shapes, bit for bit.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if calls(value, QUANTIZE.removeprefix("relax.")):
        undone = _undone(rewriter, value)
        return _quantized_before(rewriter, var, value) if undone is None else undone
    if calls(value, "concat"):
        return _concatenated(rewriter, var, value)
    if not is_move(value):
        return None
    found = dequantized(rewriter, value.args[0])
    if found is None:
        return _widened_later(rewriter, var, value)
    if calls(value, *CHOICES) and not _is_positive(found.scale):
        return None
    if found.is_uniform:
        held = as_array(found.integers, found.integers.ty.ndim)
        ready = None if held is None else moved_array(value, held)
        if ready is not None:
            return dequantize(constant(ready), found.scale, found.zero_point, found.dtype)
        integers = rewriter.emit(moved(value, found.integers), var.name)
        return dequantize(integers, found.scale, found.zero_point, found.dtype)
    return _moved_channels(rewriter, var, value, found)


def _concatenated(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """A concatenation of tensors that are dequantized alike."""
    parts = value.args[0]
    found = [dequantized(rewriter, each) for each in parts.fields] if isinstance(parts, relax.Tuple) else []
    known = [each for each in found if each is not None and each.is_uniform]
    if not known or len(known) < len(found):
        return None
    first = known[0]
    alike = all(
        dtype_of(each.integers) == dtype_of(first.integers)
        and each.dtype == first.dtype
        and same_parameter(each.scale, first.scale)
        and same_parameter(each.zero_point, first.zero_point)
        for each in known
    )
    if not alike:
        return None
    integers = rewriter.emit(relax.op.concat([each.integers for each in known], value.attrs.axis), var.name)
    return dequantize(integers, first.scale, first.zero_point, first.dtype)


def _widened_later(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """A move of integers that were made wider, or less a zero point: of the integers that they were."""
    made = made_by(rewriter, value.args[0], "astype", "subtract")
    if made is None or dtype_of(made) != "int32" or dtype_of(value) != "int32":
        return None
    inner, *rest = made.args
    if calls(made, "astype"):
        return relax.op.astype(rewriter.emit(moved(value, inner), var.name), "int32") if _is_narrow(inner) else None
    if size_of(rest[0]) != 1 or rest[0].ty.ndim or made_by(rewriter, inner, "astype") is None:
        return None
    return relax.op.subtract(rewriter.emit(moved(value, inner), var.name), rest[0])


def _is_narrow(expr: Expr) -> bool:
    return dtype_of(expr) in ("int8", "uint8")


def _moved_channels(rewriter: Rewriter, var: Var, value: Expr, found: Dequantized) -> Expr | None:
    """A constant of several scales whose axes are permuted, or that gets another shape."""
    rank = found.integers.ty.ndim
    known = [as_array(each, rank) for each in (found.integers, found.scale, found.zero_point)]
    given = [each for each in known if each is not None]
    if len(given) < len(known):
        return None
    arrays = [moved_array(value, np.broadcast_to(each, given[0].shape)) for each in given]
    after = [each for each in arrays if each is not None]
    if len(after) < len(arrays):
        return None
    moved_integers, scale, zero = map(constant, (after[0], *map(_once, after[1:])))
    return dequantize(moved_integers, scale, zero, found.dtype)


def _once(array: Array) -> Array:
    """An array without its repetitions along axes, as it broadcasts."""
    for axis in range(array.ndim):
        first = np.take(array, [0], axis)
        array = first if array.strides[axis] == 0 or (array == first).all() else array
    return array


def _undone(rewriter: Rewriter, value: Expr) -> Expr | None:
    """The integers that a quantized tensor was dequantized from, by the same scale, zero point and range."""
    x, scale, zero = value.args
    found = dequantized(rewriter, x)
    if found is None or found.dtype != "float32" or not found.is_uniform:
        return None
    dtype, low, high = range_of(value)
    limits = np.iinfo(dtype)
    whole_range = (low, high) == (limits.min, limits.max) and limits.bits <= 8
    if dtype_of(found.integers) != dtype or not whole_range:
        return None
    same = same_parameter(found.scale, scale) and same_parameter(found.zero_point, zero)
    return found.integers if same and _is_normal(scale) else None


def _quantized_before(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """The reshape of a quantized tensor, for a reshaped tensor that is quantized and not read by anything else."""
    x, scale, zero = value.args
    made = made_by(rewriter, x, *RESHAPES)
    if made is None or not only_use(rewriter, x) or size_of(scale) != 1 or size_of(zero) != 1:
        return None
    if scale.ty.ndim > made.args[0].ty.ndim or zero.ty.ndim > made.args[0].ty.ndim:
        return None
    return moved(made, rewriter.emit(quantize(made.args[0], scale, zero, *range_of(value)), var.name))


def _is_positive(scale: Expr) -> bool:
    array = array_of(scale)
    return array is not None and bool((array > 0).all())


def _is_normal(scale: Expr) -> bool:
    """Whether an integer times the scale is a float32 with all its digits."""
    array = array_of(scale)
    return array is not None and bool((np.abs(array) > 1e-35).all() and (np.abs(array) < 1e35).all())

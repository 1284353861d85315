"""What converters of quantized operators share: scales that broadcast, centered integers, sums made floats again."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
from tvm import relax

from ...ir_passes.dialect.quantize import dequantize, quantize, requantize
from .dtypes import STORED, numpy_dtype
from .emitter import Array
from .node import Expr, Node, dtype_of, shape_of


def is_whole(dtype: str) -> bool:
    """Whether a dtype is one of integers."""
    return dtype in STORED or numpy_dtype(dtype).kind in "iu"


def limits(dtype: str) -> tuple[int, int]:
    """The least and the greatest integer of a dtype."""
    found = ml_dtypes.iinfo(numpy_dtype(dtype))
    return int(found.min), int(found.max)


def integers(node: Node, index: int) -> Expr:
    """An input of integers as kernels read it: those of fewer than 8 bits are constants, and widened."""
    array = node.constant(index)
    if array is not None and str(array.dtype) in STORED:
        return node.emit(array.astype(STORED[str(array.dtype)]))
    return node.expr(index)


def parameter(node: Node, index: int, shape: Sequence[int], axis: int, block: int = 0) -> Expr:
    """A scale or a zero point (an input) so that it broadcasts to `shape`: of one number, or as many as the axis has.

    Args:
        block: places on the axis that share one number, where it is not 0; then the other axes are there, too, and what
            it broadcasts to is `shape` as `in_blocks` has it.
    """
    given = node.shape(index)
    value = integers(node, index)
    if all(extent == 1 for extent in given) and not block:
        return node.emit(node.reshape(value, ()))
    if block:
        expected = tuple(-(-extent // block) if each == axis else extent for each, extent in enumerate(shape))
    else:
        expected = (shape[axis],) if shape else ()
    if given != expected:
        raise node.invalid(f"the shape {list(given)} of input {index} does not fit axis {axis} of {list(shape)}")
    if not block:
        return node.emit(node.reshape(value, (shape[axis], *[1] * (len(shape) - axis - 1))))
    if in_blocks(shape, axis, block) != tuple(shape):
        return node.emit(node.reshape(value, (*given[: axis + 1], 1, *given[axis + 1 :])))
    places = np.arange(shape[axis]) // block
    known = node.constant(index)
    if known is not None:
        return node.emit(np.take(known.astype(dtype_of(value)), places, axis))
    return node.emit(relax.op.take(value, node.emit(places), axis))


def in_blocks(shape: Sequence[int], axis: int, block: int) -> tuple[int, ...]:
    """A shape with an axis of blocks and one inside of them in the place of one that is whole blocks; else itself."""
    if not block or not shape or shape[axis] % block:
        return tuple(shape)
    return (*shape[:axis], shape[axis] // block, block, *shape[axis + 1 :])


def zero_point(node: Node, index: int, shape: Sequence[int], axis: int, block: int = 0) -> Expr:
    """An optional zero point, 0 where it is left out."""
    return parameter(node, index, shape, axis, block) if node.has(index) else node.scalar(0, "int32")


def centered(node: Node, index: int, zero: int, axis: int) -> Expr:
    """Input `index` minus its zero point, input `zero`, in int32."""
    x = node.emit(relax.op.astype(integers(node, index), "int32"))
    if not node.has(zero) or _is_zero(node.constant(zero)):
        return x
    offset = node.emit(relax.op.astype(parameter(node, zero, shape_of(x), axis), "int32"))
    return node.emit(relax.op.subtract(x, offset))


def to_float(node: Node, x: Expr, scale: Expr, zero: Expr, dtype: str = "float32") -> Expr:
    """(x - zero) * scale, bound."""
    return node.emit(dequantize(x, scale, zero, dtype))


def to_integers(node: Node, x: Expr, scale: Expr, zero: Expr, dtype: str) -> Expr:
    """Floats as integers of a dtype, which may have few bits; bound."""
    return node.emit(quantize(x, scale, zero, STORED.get(dtype, dtype), *limits(dtype)))


def rescaled(node: Node, sums: Expr, scales: Sequence[Expr], zero: Expr, dtype: str) -> Expr:
    """Sums in int32 as integers of a dtype, by the scales of both operands and of the result."""
    lhs, rhs, result = (node.emit(relax.op.astype(each, "float32")) for each in scales)
    multiplier = node.emit(relax.op.divide(node.emit(relax.op.multiply(lhs, rhs)), result))
    return node.emit(requantize(sums, multiplier, zero, dtype))


def named_dtype(node: Node, name: str) -> str | None:
    """The dtype that an attribute names; 0 is none."""
    dtype = node.attr_dtype(name)
    return None if dtype is None else str(dtype.numpy())


def _is_zero(array: Array | None) -> bool:
    return array is not None and not array.astype(np.int64).any()


def quantized_by_range(node: Node, x: Expr) -> tuple[Expr, Expr, Expr]:
    """Floats as uint8 of the range that they have, 0 included: integers, scale and zero point, which are scalars."""
    nothing = node.scalar(0.0, "float32")
    low = node.emit(relax.op.minimum(node.emit(relax.op.min(x)), nothing))
    high = node.emit(relax.op.maximum(node.emit(relax.op.max(x)), nothing))
    reach = node.emit(relax.op.divide(node.emit(relax.op.subtract(high, low)), node.scalar(255.0, "float32")))
    is_zero = node.emit(relax.op.equal(reach, nothing))
    scale = node.emit(relax.op.where(is_zero, node.scalar(1.0, "float32"), reach))
    place = node.emit(relax.op.divide(node.emit(relax.op.subtract(nothing, low)), scale))
    zero = to_integers(node, place, node.scalar(1.0, "float32"), node.scalar(0, "int32"), "uint8")
    return to_integers(node, x, scale, zero, "uint8"), scale, zero

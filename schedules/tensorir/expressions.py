"""Small TensorIR expressions that several templates need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import DataType, te, tirx

from ... import hidden_floats as hidden
from ...dtypes import accumulator as accumulator
from ...ir_types import Scalar


def int64(value: int) -> tirx.IntImm:
    """An index constant. Relax shapes are int64; mixing widths would litter kernels with casts."""
    return tirx.IntImm("int64", value)


def int64s(values: Sequence[int]) -> list[tirx.IntImm]:
    """A shape of index constants."""
    return [int64(value) for value in values]


def unflatten(index: Any, extents: Sequence[int]) -> list[Any]:
    """The coordinates, in row-major order, of a flat `index` into a space of `extents`."""
    coordinates = []
    for position, extent in enumerate(extents):
        inner = math.prod(extents[position + 1 :])
        if extent == 1:
            coordinates.append(int64(0))
            continue
        coordinate = index // inner if inner > 1 else index
        # The outermost coordinate cannot overflow.
        coordinates.append(coordinate if math.prod(extents[:position]) == 1 else coordinate % extent)
    return coordinates


def flatten(coordinates: Sequence[Any], extents: Sequence[int]) -> Any:
    """The row-major flat index of `coordinates` in a space of `extents`."""
    index: Any = int64(0)
    for coordinate, extent in zip(coordinates, extents, strict=True):
        index = index * extent + coordinate
    return index


def largest_divisor(value: int, limit: int) -> int:
    """The largest divisor of `value` that is at most `limit`."""
    return max(divisor for divisor in range(1, limit + 1) if value % divisor == 0)


def constant_shape(tensor: Any) -> tuple[int, ...]:
    """The shape of a TE tensor, buffer or Relax expression whose dimensions are all known."""
    shape = tensor.shape if hasattr(tensor, "shape") else tensor.ty.shape
    return tuple(int(extent) for extent in shape)


def dtype_bits(dtype: str) -> int:
    """Bits of one element of a TVM dtype."""
    return int(DataType(dtype).bits)


# Lambdas of two arguments, as `comm_reducer` demands. NaN passes through the first two (`hidden_floats.py`).
_FLOAT_MAXIMUM = te.comm_reducer(
    lambda x, y: tirx.max(x, y), lambda dtype: tirx.const(float("-inf"), dtype), name="maximum"
)
_FLOAT_MINIMUM = te.comm_reducer(
    lambda x, y: tirx.min(x, y), lambda dtype: tirx.const(float("inf"), dtype), name="minimum"
)

_LARGEST_NUMBER = te.comm_reducer(
    lambda x, y: hidden.larger(x, y), lambda dtype: tirx.const(float("-inf"), dtype), name="larger"
)


def reduce_larger(expression: Scalar, axis: Any) -> Scalar:
    """The largest of floats along reduction axes, for those who see NaN elsewhere: one instruction instead of three."""
    return _LARGEST_NUMBER(expression, axis=axis)


def scalar_dtype(expression: Scalar) -> str:
    """The dtype of an element of a TE tensor, which has one, or of an expression, which has a type."""
    return str(expression.dtype if hasattr(expression, "dtype") else expression.ty.dtype)


def converted(value: Scalar, dtype: str) -> Scalar:
    """A value as one of a dtype."""
    return value if scalar_dtype(value) == dtype else value.astype(dtype)


def _is_float(expression: Scalar) -> bool:
    return "float" in scalar_dtype(expression)


def reduce_max(expression: Scalar, axis: Any) -> Scalar:
    """The largest value along reduction axes; `te.max` would give the lowest finite number for infinities alone."""
    return (_FLOAT_MAXIMUM if _is_float(expression) else te.max)(expression, axis=axis)


def reduce_min(expression: Scalar, axis: Any) -> Scalar:
    """The smallest value along reduction axes."""
    return (_FLOAT_MINIMUM if _is_float(expression) else te.min)(expression, axis=axis)

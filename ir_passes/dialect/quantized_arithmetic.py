"""The arithmetic of quantized tensors, in numpy: what every kernel computes, bit for bit. See docs/quantization.md.

Scales and zero points broadcast against the tensor as in numpy. Needs no TVM.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype

Array = npt.NDArray[Any]

# Integers of activations that are quantized when a model runs, in magnitude; and what a row's largest is multiplied by.
LARGEST_OF_ROW = 127
ROW_STEP = np.float32(1 / LARGEST_OF_ROW)


def quantized(x: Array, scale: Array, zero_point: Array, dtype: str, low: int, high: int) -> Array:
    """saturate(round(x / scale) + zero_point): the quotient in the dtype of x, halves to even; NaN is open."""
    with np.errstate(all="ignore"):
        return _saturated((x / scale.astype(x.dtype)).astype(np.float32), zero_point, dtype, low, high)


def requantized(sums: Array, multiplier: Array, zero_point: Array, dtype: str, low: int, high: int) -> Array:
    """saturate(round(sums * multiplier) + zero_point): sums of int32 rounded to float32, and so is the product."""
    with np.errstate(all="ignore"):
        product = sums.astype(np.float32) * multiplier.astype(np.float32)
    return _saturated(product, zero_point, dtype, low, high)


def dequantized(x: Array, scale: Array, zero_point: Array, dtype: str) -> Array:
    """(x - zero_point) * scale: the difference in int32 that wraps, the product in float32, rounded to `dtype`."""
    with np.errstate(all="ignore"):
        difference = x.astype(np.int32) - zero_point.astype(np.int32)
        return np.asarray((difference.astype(np.float32) * scale.astype(np.float32)).astype(numpy_dtype(dtype)))


def row_scale(x: Array) -> Array:
    """The scales of rows that are quantized when a model runs: (..., 1), 0 for a row of zeros."""
    return np.asarray(np.abs(x).max(-1, keepdims=True) * ROW_STEP)


def multiplier(lhs_scale: Array, rhs_scale: Array, result_scale: Array) -> Array:
    """What sums of products are multiplied by to requantize them: in float32, in this order."""
    product = lhs_scale.astype(np.float32) * rhs_scale.astype(np.float32)
    return np.asarray(product / result_scale.astype(np.float32))


def _saturated(x: Array, zero_point: Array, dtype: str, low: int, high: int) -> Array:
    zero = zero_point.astype(np.int64)
    with np.errstate(invalid="ignore"):
        whole = np.clip(np.rint(x), (low - zero).astype(np.float32), (high - zero).astype(np.float32))
        return np.asarray((np.nan_to_num(whole).astype(np.int64) + zero).astype(dtype))

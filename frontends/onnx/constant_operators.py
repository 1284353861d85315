"""Operators that no kernel computes, on constants: quantized weights, and sizes that depend on data which is known.

Each row is ONNX's definition in numpy. It returns None for what it does not define: then the node is refused, as it is
when its inputs are not constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import ml_dtypes
import numpy as np
import onnx_ir as ir

from .emitter import Array
from .limits import check_table
from .node import Node


def compute_constants(node: Node) -> Sequence[Array] | None:
    """The outputs of a node whose inputs are all known, or None if no row computes them.

    Raises:
        ModelError: the node does not fit its inputs.
        UnsupportedError: an output would be too large.
    """
    row = _ROWS.get(node.op_type) if node.source.domain in ("", "ai.onnx") else None
    if row is None or any(node.has(index) and node.known(index) is None for index in range(len(node.inputs))):
        return None
    with np.errstate(all="ignore"):
        return row(node)


def _non_zero(node: Node) -> Sequence[Array]:
    """Where elements are not zero: [rank, count]."""
    x = node.static(0, "the input")
    return [np.asarray(np.nonzero(x) if x.ndim else np.empty((0, int(x != 0))), np.int64)]


def _compress(node: Node) -> Sequence[Array]:
    """The slices along an axis (or, without one, the elements) whose condition holds; a short condition ends early."""
    x, condition = node.static(0, "the input"), node.static(1, "the condition")
    axis = node.axis(node.attr_int("axis", 0), x.ndim) if "axis" in node.attributes else None
    return [np.compress(condition.ravel(), x, axis)]


def _unique(node: Node) -> Sequence[Array] | None:
    """Different elements, or slices along an axis; where each stands first, which one each is, how many there are."""
    x = node.static(0, "the input")
    if x.dtype.kind not in "biu" and (x.dtype.kind != "f" or np.isnan(x).any()):
        return None
    axis = node.axis(node.attr_int("axis", 0), x.ndim) if "axis" in node.attributes else None
    values, first, which, counts = np.unique(x, True, True, True, axis)
    which = which.reshape(-1)
    if not node.attr_int("sorted", 1):
        order = np.argsort(first)
        values, first, counts = np.take(values, order, axis or 0), first[order], counts[order]
        which = np.argsort(order)[which]
    return [values, *(each.astype(np.int64) for each in (first, which, counts))]


def _dequantize(node: Node) -> Sequence[Array] | None:
    """(x - zero_point) * scale."""
    x, scale = node.static(0, "the input"), node.static(1, "the scale")
    wide = x.astype(np.int64) if _is_whole(x.dtype) else x.astype(np.float32)
    if node.has(2):
        zero_point = _along(node, node.static(2, "the zero point"), x.shape)
        wide = wide - zero_point.astype(wide.dtype)
    dtype = _dtype(node, "output_dtype") or scale.dtype
    return [(wide.astype(np.float32) * _along(node, scale, x.shape).astype(np.float32)).astype(dtype)]


def _quantize(node: Node) -> Sequence[Array] | None:
    """round_half_to_even(x / scale) + zero_point, saturated."""
    x, scale = node.static(0, "the input"), node.static(1, "the scale")
    zero_point = node.static(2, "the zero point") if node.has(2) else None
    dtype = (_dtype(node, "output_dtype") or np.dtype(np.uint8)) if zero_point is None else zero_point.dtype
    if not _is_whole(dtype):
        return None
    precision = _dtype(node, "precision") or scale.dtype
    quotient = x.astype(precision) / _along(node, scale, x.shape).astype(precision)
    rounded = np.rint(quotient.astype(np.float64))
    if np.isnan(rounded).any():
        return None
    if zero_point is not None:
        rounded = rounded + _along(node, zero_point, x.shape).astype(np.float64)
    limits = ml_dtypes.iinfo(dtype)
    return [np.clip(rounded, int(limits.min), int(limits.max)).astype(np.int64).astype(dtype)]


def _along(node: Node, value: Array, shape: tuple[int, ...]) -> Array:
    """A scale or zero point as it broadcasts: one for all, one for each place on an axis, or one for each block."""
    if value.size == 1:
        return value.reshape(())
    axis = node.axis(node.attr_int("axis", 1), len(shape))
    block = node.attr_int("block_size", 0)
    if block <= 0:
        if value.shape != (shape[axis],):
            raise node.invalid(f"the shape {list(value.shape)} of the scale does not fit axis {axis} of {list(shape)}")
        return value.reshape([-1 if each == axis else 1 for each in range(len(shape))])
    blocks = [-(-extent // block) if each == axis else extent for each, extent in enumerate(shape)]
    if list(value.shape) != blocks:
        raise node.invalid(
            f"the shape {list(value.shape)} of the scale does not fit blocks of {block} in {list(shape)}"
        )
    return np.take(value, np.arange(shape[axis]) // block, axis)


def _dtype(node: Node, name: str) -> np.dtype[np.generic] | None:
    """The dtype that an attribute names; 0 is none."""
    value = node.attr_int(name, 0)
    return ir.DataType(value).numpy() if value else None


def _is_whole(dtype: np.dtype[np.generic]) -> bool:
    return dtype.kind in "iu" or dtype.name in ("int2", "uint2", "int4", "uint4")


def _mel_weight_matrix(node: Node) -> Sequence[Array]:
    """Triangles of weights, equally wide on the mel scale, from the bins of a spectrum: [bins, mel bins]."""
    names = ("the mel bins", "the length of the spectrum", "the sample rate", "the lower edge", "the upper edge")
    mels, length, rate, lowest, highest = (node.static(index, name).item() for index, name in enumerate(names))
    bins = length // 2 + 1
    if min(mels, length, rate) <= 0:
        raise node.invalid("a number of bins, a length or a sample rate is not positive")
    check_table(bins * mels, "the matrix")
    low, high = (2595 * np.log10(1 + edge / 700) for edge in (lowest, highest))
    edges = 700 * (10 ** ((np.arange(mels + 2) * ((high - low) / (mels + 2)) + low) / 2595) - 1)
    edges = np.floor((length + 1) * edges / rate).astype(np.int64)
    if edges.min() < 0 or edges.max() > bins:
        raise node.invalid("the edges lie outside the spectrum")
    at = np.arange(bins)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    with np.errstate(all="ignore"):
        rising = np.where(left == centre, at == centre, (at - left) / (centre - left))
        falling = (right - at) / (right - centre)
    inside = (at >= left) & (at <= centre)
    weights = np.where((at >= centre) & (at < right), falling, np.where(inside, rising, 0.0))
    return [weights.astype(_dtype(node, "output_datatype") or np.float32)]


_ROWS: Mapping[str, Callable[[Node], Sequence[Array] | None]] = MappingProxyType(
    {
        "Compress": _compress,
        "DequantizeLinear": _dequantize,
        "MelWeightMatrix": _mel_weight_matrix,
        "NonZero": _non_zero,
        "QuantizeLinear": _quantize,
        "Unique": _unique,
    }
)

"""Interpolation along one axis as a table of taps computed at compile time.

Every output element is a weighted sum of a few input elements. Which ones, and their weights, depends on nothing but
sizes, so all of ONNX's coordinate modes end here, in numpy and float64; what runs is a gather and a short sum.
https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from tvm import relax, te, topi

from .dtypes import NARROW_FLOATS, is_float
from .node import Expr, Node, dtype_of

_Floats: TypeAlias = npt.NDArray[np.float64]
MODES = frozenset({"nearest", "linear", "cubic"})


@dataclass(frozen=True)
class Method:
    """How to interpolate: the attributes of ONNX's Resize, by the same values."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True)
class Taps:
    """For each output element: input positions [size, taps], weights [size, taps], and a constant to add [size]."""

    positions: npt.NDArray[np.int64]
    weights: _Floats
    offsets: _Floats


@dataclass(frozen=True)
class _Axis:
    """The sizes that a coordinate is computed from."""

    extent: int
    size: int
    scale: float
    crop: tuple[float, float]


def _half_pixel(x: _Floats, axis: _Axis) -> _Floats:
    return (x + 0.5) / axis.scale - 0.5


def _half_pixel_symmetric(x: _Floats, axis: _Axis) -> _Floats:
    # The exact length may be fractional; the difference is shared by both ends.
    adjustment = axis.size / (axis.scale * axis.extent)
    return axis.extent / 2 * (1 - adjustment) + (x + 0.5) / axis.scale - 0.5


def _pytorch_half_pixel(x: _Floats, axis: _Axis) -> _Floats:
    return (x + 0.5) / axis.scale - 0.5 if axis.size > 1 else np.zeros_like(x)


def _align_corners(x: _Floats, axis: _Axis) -> _Floats:
    # With a scale that gives a fractional length, the last corner is that of the exact length.
    length = axis.scale * axis.extent
    return x * (axis.extent - 1) / (length - 1) if length != 1 else np.zeros_like(x)


def _asymmetric(x: _Floats, axis: _Axis) -> _Floats:
    return x / axis.scale


def _crop(x: _Floats, axis: _Axis) -> _Floats:
    start, end = axis.crop
    last = axis.extent - 1
    if axis.size > 1:
        return start * last + x * (end - start) * last / (axis.size - 1)
    return np.full_like(x, 0.5 * (start + end) * last)


# From an output position to a position in the input, by ONNX's coordinate_transformation_mode.
COORDINATES: Mapping[str, Callable[[_Floats, _Axis], _Floats]] = MappingProxyType(
    {
        "half_pixel": _half_pixel,
        "half_pixel_symmetric": _half_pixel_symmetric,
        "pytorch_half_pixel": _pytorch_half_pixel,
        "align_corners": _align_corners,
        "asymmetric": _asymmetric,
        "tf_half_pixel_for_nn": lambda x, axis: (x + 0.5) / axis.scale,
        "tf_crop_and_resize": _crop,
    }
)
_NEAREST: Mapping[str, Callable[[_Floats], _Floats]] = MappingProxyType(
    {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        "floor": np.floor,
        "ceil": np.ceil,
    }
)


def taps(method: Method, extent: int, size: int, scale: float, crop: tuple[float, float]) -> Taps:
    """The table for one axis.

    Args:
        method: the attributes.
        extent: the input's extent.
        size: the output's extent.
        scale: the factor, which may differ from size / extent because sizes are rounded down.
        crop: start and end of the region, for tf_crop_and_resize; in shares of the extent.
    """
    axis = _Axis(extent, size, scale, crop)
    at = COORDINATES[method.coordinates](np.arange(size, dtype=np.float64), axis)
    outside = np.zeros(size, np.bool_)
    if method.coordinates == "tf_crop_and_resize":
        outside = (at < 0) | (at > extent - 1)
    if method.mode == "nearest":
        positions = _NEAREST[method.nearest](at)[:, None]
        weights = np.ones_like(positions)
    else:
        positions, weights = _weighted(method, at, min(scale, 1.0) if method.antialias else 1.0)
    inside = (positions >= 0) & (positions < extent)
    if method.exclude_outside and method.mode != "nearest":
        weights = np.where(inside, weights, 0.0)
        weights = weights / np.sum(weights, axis=1, keepdims=True)
    weights = np.where(outside[:, None], 0.0, weights)
    taken = np.clip(positions, 0, extent - 1).astype(np.int64)
    return Taps(taken, weights, np.where(outside, method.extrapolation, 0.0))


def _weighted(method: Method, at: _Floats, shrink: float) -> tuple[_Floats, _Floats]:
    """Positions and weights of a kernel, widened by 1 / shrink when antialiasing a reduction."""
    linear = method.mode == "linear"
    reach = (1.0 if linear else 2.0) / shrink
    half = int(np.ceil(reach))
    base = np.floor(at)
    positions: _Floats = base[:, None] + np.arange(-half + 1, half + 1)[None, :]
    distance = np.abs(positions - at[:, None]) * shrink
    if linear:
        weights = np.maximum(0.0, 1.0 - distance)
    else:
        a = method.cubic
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * a * distance - 4 * a
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    return positions, weights / np.sum(weights, axis=1, keepdims=True)


def emit_along_axis(node: Node, x: Expr, axis: int, table: Taps) -> Expr:
    """Emits the interpolation of x along an axis. Integers are interpolated in float32 and rounded towards zero."""
    dtype = dtype_of(x)
    if table.weights.shape[1] == 1 and bool((table.weights == 1.0).all()):
        return _pick(node, x, axis, table.positions[:, 0])
    used = table.weights.any(axis=0)
    compute = dtype if is_float(dtype) and dtype not in NARROW_FLOATS else "float32"
    wide = x if dtype == compute else node.emit(relax.op.astype(x, compute))
    positions = node.emit(np.ascontiguousarray(table.positions[:, used]))
    weights = node.emit(table.weights[:, used].astype(compute))
    result = node.emit_te(_interpolate, wide, positions, weights, axis)
    if table.offsets.any():
        shape = [-1 if each == axis else 1 for each in range(len(x.ty.shape))]
        result = node.emit(relax.op.add(result, node.emit(table.offsets.astype(compute).reshape(shape))))
    return result if dtype == compute else node.emit(relax.op.astype(result, dtype))


def _pick(node: Node, x: Expr, axis: int, positions: npt.NDArray[np.int64]) -> Expr:
    """One input element for each output element; a whole factor needs no table."""
    extent, size = int(x.ty.shape[axis]), len(positions)
    if size % extent == 0 and bool((positions == np.arange(size) // (size // extent)).all()):
        return node.emit(relax.op.repeat(x, size // extent, axis)) if size > extent else x
    return node.emit(relax.op.take(x, node.emit(positions), axis, mode="fast"))


def _interpolate(x: te.Tensor, positions: te.Tensor, weights: te.Tensor, axis: int) -> te.Tensor:
    """The sum over taps of weight times element, along one axis; unrolled, since taps are few."""
    count = int(weights.shape[1])
    shape = [weights.shape[0] if each == axis else extent for each, extent in enumerate(x.shape)]

    def term(i: tuple[Any, ...], tap: Any) -> Any:
        return weights(i[axis], tap) * x(*i[:axis], positions(i[axis], tap), *i[axis + 1 :])

    if count <= 8:

        def element(*i: Any) -> Any:
            total = term(i, 0)
            for tap in range(1, count):
                total = total + term(i, tap)
            return total

        return te.compute(shape, element, name="interpolate", tag=topi.tag.INJECTIVE)
    taps_axis = te.reduce_axis((0, count), name="tap")
    return te.compute(shape, lambda *i: te.sum(term(i, taps_axis), axis=taps_axis), name="interpolate")

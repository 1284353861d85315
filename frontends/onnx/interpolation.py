"""Interpolation along one axis as a table of taps computed at compile time.

Every output element is a weighted sum of a few input elements. Which ones, and their weights, depends on nothing but
sizes, so all of ONNX's coordinate modes end here, in numpy; what runs is a gather and a short sum. Coordinates are
computed in float32, operation by operation as ONNX Runtime does: which element is nearest hangs on their last bit
(3 / 0.6 is 5 in float32 and less in float64). https://onnx.ai/onnx/operators/onnx__Resize.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from tvm import relax, te, tirx, topi

from ...ir_passes.dialect import interpolation
from ...ir_passes.dialect.interpolation import Sampling, interpolate
from ...ir_types import Scalar
from .dtypes import accumulator, is_float, numpy_dtype
from .node import Expr, Node, dtype_of

_Floats: TypeAlias = npt.NDArray[np.float64]
_Coordinates: TypeAlias = npt.NDArray[np.float32]
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


class Rounding(Enum):
    """What becomes of fractions where integers are interpolated."""

    FRACTION_DROPPED = "once, at the end"
    NEAREST = "to the nearest integer in range, once, at the end"
    EVERY_AXIS = "to the nearest integer in range, after every axis"


@dataclass(frozen=True)
class Taps:
    """For each output element: input positions [size, taps], weights [size, taps]; whether it lies outside [size].

    `sampling` says how they were computed.
    """

    positions: npt.NDArray[np.int64]
    weights: _Floats
    outside: npt.NDArray[np.bool_]
    sampling: Sampling


@dataclass(frozen=True)
class _Axis:
    """The sizes that a coordinate is computed from."""

    extent: np.float32
    size: np.float32
    scale: np.float32
    start: np.float32
    end: np.float32


_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1), np.float32(2)


def _half_pixel(x: _Coordinates, axis: _Axis) -> _Coordinates:
    return (x + _HALF) / axis.scale - _HALF


def _half_pixel_symmetric(x: _Coordinates, axis: _Axis) -> _Coordinates:
    # The exact length may be fractional; the difference is shared by both ends. ONNX Runtime takes this sum in double.
    offset = axis.extent / _TWO * (_ONE - axis.size / (axis.scale * axis.extent))
    return (offset + (x + _HALF).astype(np.float64) / np.float64(axis.scale) - 0.5).astype(np.float32)


def _pytorch_half_pixel(x: _Coordinates, axis: _Axis) -> _Coordinates:
    return _half_pixel(x, axis) if axis.size > 1 else np.zeros_like(x)


def _align_corners(x: _Coordinates, axis: _Axis) -> _Coordinates:
    # The length of the resized tensor, a whole number, as the specification says and PyTorch and ONNX Runtime compute.
    return x * (axis.extent - _ONE) / (axis.size - _ONE) if axis.size > 1 else np.zeros_like(x)


def _asymmetric(x: _Coordinates, axis: _Axis) -> _Coordinates:
    return x / axis.scale


def _tf_half_pixel(x: _Coordinates, axis: _Axis) -> _Coordinates:
    return (x + _HALF) / axis.scale


def _crop(x: _Coordinates, axis: _Axis) -> _Coordinates:
    last = axis.extent - _ONE
    if axis.size > 1:
        return axis.start * last + x * (axis.end - axis.start) * last / (axis.size - _ONE)
    return np.full_like(x, _HALF * (axis.start + axis.end) * last)


# From an output position to a position in the input, by ONNX's coordinate_transformation_mode.
COORDINATES: Mapping[str, Callable[[_Coordinates, _Axis], _Coordinates]] = MappingProxyType(
    {
        "half_pixel": _half_pixel,
        "half_pixel_symmetric": _half_pixel_symmetric,
        "pytorch_half_pixel": _pytorch_half_pixel,
        "align_corners": _align_corners,
        "asymmetric": _asymmetric,
        "tf_half_pixel_for_nn": _tf_half_pixel,
        "tf_crop_and_resize": _crop,
    }
)
# In float64, where adding a half rounds nothing. ONNX Runtime takes what is less than a half by no more than this for a
# half where it prefers to round up: 4.5 / 0.6 is 7.4999995 in float32.
_NEARLY_HALF = 1e-6
NEAREST: Mapping[str, Callable[[_Floats], _Floats]] = MappingProxyType(
    {
        "round_prefer_floor": lambda x: np.ceil(x - 0.5),
        "round_prefer_ceil": lambda x: np.floor(x + (0.5 + _NEARLY_HALF)),
        "floor": np.floor,
        "ceil": np.ceil,
    }
)


def scaled_size(extent: int, scale: float) -> int:
    """The extent multiplied by a factor, rounded down; the product is one of float32, in which 10 * 0.7 is 7."""
    return int(np.float32(extent) * np.float32(scale))


def taps(method: Method, extent: int, size: int, scale: float, crop: tuple[float, float]) -> Taps:
    """The table for one axis.

    Args:
        method: the attributes.
        extent: the input's extent.
        size: the output's extent.
        scale: the factor, which may differ from size / extent because sizes are rounded down.
        crop: start and end of the region, for tf_crop_and_resize; in shares of the extent.
    """
    axis = _Axis(*(np.float32(each) for each in (extent, size, scale, *crop)))
    at = COORDINATES[method.coordinates](np.arange(size, dtype=np.float32), axis)
    outside = np.zeros(size, np.bool_)
    if method.coordinates == "tf_crop_and_resize":
        outside = (at < 0) | (at > extent - 1)
    if method.mode == "nearest":
        positions = NEAREST[method.nearest](at.astype(np.float64))[:, None]
        weights = np.ones_like(positions)
    else:
        positions, weights = _weighted(method, at.astype(np.float64), min(scale, 1.0) if method.antialias else 1.0)
    inside = (positions >= 0) & (positions < extent)
    if method.exclude_outside and method.mode != "nearest":
        weights = np.where(inside, weights, 0.0)
        total = np.sum(weights, axis=1, keepdims=True)
        weights = np.divide(weights, total, out=np.zeros_like(weights), where=total != 0)
    sampling = Sampling(**asdict(method), scale=scale, crop=crop)
    return Taps(np.clip(positions, 0, extent - 1).astype(np.int64), weights, outside, sampling)


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


def emit(node: Node, x: Expr, tables: Mapping[int, Taps], *, extrapolation: float, rounding: Rounding) -> Expr:
    """Emits the interpolation of x along axes, by their tables, the last axis first.

    Integers and narrow floats are interpolated in a wider float and converted at the end. What lies outside along any
    axis is `extrapolation`.
    """
    dtype = dtype_of(x)
    axes = sorted(tables, reverse=True)
    varying = may_vary(node)
    for axis in axes:
        if _picks(tables[axis]) and not varying:
            x = _pick(node, x, axis, tables[axis].positions[:, 0])
    summed = [axis for axis in axes if varying or not _picks(tables[axis])]
    every_axis = rounding is Rounding.EVERY_AXIS and not is_float(dtype)
    for together in [[axis] for axis in summed] if every_axis else [summed] if summed else []:
        compute = _computed_in(dtype, rounding)
        x = x if dtype_of(x) == compute else node.emit(relax.op.astype(x, compute))
        sampled = [tables[axis].sampling for axis in together] if varying else []
        given = [_emitted(node, tables[axis], compute, whole=varying) for axis in together]
        x = node.emit(interpolate(x, given, together, sampled))
        if every_axis:
            x = _rounded(node, x, dtype)
    if dtype_of(x) != dtype:
        drops = is_float(dtype) or rounding is Rounding.FRACTION_DROPPED
        x = node.emit(relax.op.astype(x, dtype)) if drops else _rounded(node, x, dtype)
    for axis, table in tables.items():
        if table.outside.any():
            shape = [-1 if each == axis else 1 for each in range(len(x.ty.shape))]
            value = node.emit(np.asarray(extrapolation).astype(numpy_dtype(dtype)))
            x = node.emit(relax.op.where(node.emit(table.outside.reshape(shape)), value, x))
    return x


def _computed_in(dtype: str, rounding: Rounding) -> str:
    if is_float(dtype):
        return accumulator(dtype)
    return "float64" if rounding is not Rounding.FRACTION_DROPPED and np.iinfo(dtype).bits > 16 else "float32"


def _rounded(node: Node, x: Expr, dtype: str) -> Expr:
    """Floats as the nearest integers of a dtype (halves: away from 0); those beyond its range as its ends."""
    kind = numpy_dtype(dtype_of(x)).type
    low, high = (kind(bound) for bound in (np.iinfo(dtype).min, np.iinfo(dtype).max))
    if int(high) > np.iinfo(dtype).max:
        high = np.nextafter(high, kind(0))

    def round_to_range(x: te.Tensor) -> te.Tensor:
        def element(*i: Scalar) -> Scalar:
            inside = tirx.max(tirx.min(x(*i), tirx.const(high, x.dtype)), tirx.const(low, x.dtype))
            half = tirx.Select(inside < 0, tirx.const(-0.5, x.dtype), tirx.const(0.5, x.dtype))
            return tirx.trunc(inside + half).astype(dtype)

        return te.compute(x.shape, element, name="round_to_range", tag=topi.tag.ELEMWISE)

    return node.emit_te(round_to_range, x)


def may_vary(node: Node) -> bool:
    """Whether tables say how they were computed, as those for other sizes may be others; so they do for floats."""
    return node.sizes_vary and is_float(node.dtype(0))


def _picks(table: Taps) -> bool:
    return bool(table.weights.shape[1] == 1)


def _emitted(node: Node, table: Taps, dtype: str, *, whole: bool) -> tuple[Expr, Expr]:
    """Positions and weights: the whole of them, or of the taps that any element uses."""
    used = table.weights.any(axis=0) | whole
    positions = node.emit(np.ascontiguousarray(table.positions[:, used]))
    return positions, node.emit(table.weights[:, used].astype(dtype))


def _pick(node: Node, x: Expr, axis: int, positions: npt.NDArray[np.int64]) -> Expr:
    """One input element for each output element."""
    picked = interpolation.picked(x, axis, positions)
    return x if picked is x else node.emit(picked)

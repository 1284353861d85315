"""Resize and its predecessor Upsample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import interpolation
from ..dtypes import numpy_dtype
from ..limits import check_table, check_tensor
from ..node import Node, Result
from ..registry import operator


@operator("Upsample", since=1)
def upsample_by_attributes(node: Node) -> Result:
    """Upsample with its factors as attributes."""
    scales = list(node.attr_floats("scales") or ())
    if not scales:
        scales = [1.0, 1.0, node.attr_float("height_scale", 1.0), node.attr_float("width_scale", 1.0)]
    return _upsample(node, scales)


@operator("Upsample", since=9)
def upsample_by_input(node: Node) -> Result:
    """Upsample with its factors as an input."""
    return _upsample(node, [float(scale) for scale in node.static(1, "the scales")])


@operator("Resize", since=10)
def resize_opset_10(node: Node) -> Result:
    """Resize as it first was: factors only, coordinates as in Upsample."""
    return _upsample(node, [float(scale) for scale in node.static(1, "the scales")])


def _scaled(node: Node, extent: int, scale: float) -> int:
    if not (math.isfinite(scale) and scale > 0):
        raise node.invalid(f"a scale is {scale}")
    return interpolation.scaled_size(extent, scale)


def _upsample(node: Node, scales: Sequence[float]) -> Result:
    """Coordinates are divided by the factor; the nearest element is the one before, or after where the axis shrinks.

    The second is ONNX Runtime's rule for these opsets, whose specifications do not say.
    """
    if node.attr_str("mode", "nearest") == "nearest":
        methods = [interpolation.Method("nearest", "asymmetric", "ceil" if scale < 1 else "floor") for scale in scales]
    else:
        methods = [interpolation.Method("linear", "asymmetric", "floor")] * len(scales)
    sizes = [_scaled(node, *pair) for pair in zip(node.shape(0), scales, strict=True)]
    return _resized(node, scales, sizes, methods)


@operator("Resize", since=11)
def resize(node: Node) -> Result:
    """Interpolation to another size; sizes or scales, every mode of coordinates, with or without antialiasing."""
    shape = node.shape(0)
    rank = len(shape)
    axes = [node.axis(axis, rank) for axis in node.attr_ints("axes") or range(rank)]
    if len(set(axes)) < len(axes):
        raise node.invalid(f"axes are {axes}: one is there twice")
    scales, sizes = [1.0] * rank, list(shape)
    by_scales, by_sizes = (node.has(index) and node.shape(index) != (0,) for index in (2, 3))
    if by_scales == by_sizes:
        raise node.invalid("both scales and sizes are given" if by_sizes else "neither scales nor sizes are given")
    factors = math.prod(node.shape(3 if by_sizes else 2))
    if factors != len(axes):
        raise node.invalid(f"{factors} {'sizes' if by_sizes else 'scales'} are given for {len(axes)} axes")
    if by_sizes:
        given = node.static_ints(3, "the sizes")
        for axis, extent, scale in zip(axes, *_sizes(node, given, [shape[axis] for axis in axes]), strict=True):
            sizes[axis], scales[axis] = extent, scale
    else:
        for axis, factor in zip(axes, node.static(2, "the scales"), strict=True):
            scales[axis], sizes[axis] = float(factor), _scaled(node, shape[axis], float(factor))
    coordinates = node.attr_str("coordinate_transformation_mode", "half_pixel")
    starts, ends = [0.0] * rank, [1.0] * rank
    if coordinates == "tf_crop_and_resize":
        region = [float(each) for each in node.static(1, "the region")]
        if len(region) != 2 * len(axes):
            raise node.invalid(f"the region has {len(region)} numbers, {2 * len(axes)} are needed")
        for index, axis in enumerate(axes):
            starts[axis], ends[axis] = region[index], region[len(axes) + index]
    method = interpolation.Method(
        mode=node.attr_str("mode", "nearest"),
        coordinates=coordinates,
        nearest=node.attr_str("nearest_mode", "round_prefer_floor"),
        cubic=node.attr_float("cubic_coeff_a", -0.75),
        exclude_outside=node.attr_flag("exclude_outside", False),
        antialias=node.attr_flag("antialias", False),
    )
    return _resized(node, scales, sizes, [method] * rank, starts, ends)


def _sizes(node: Node, given: list[int], old: list[int]) -> tuple[list[int], list[float]]:
    """Output extents and factors; a policy other than `stretch` keeps the aspect ratio."""
    ratios = [float(np.float32(new) / np.float32(extent)) for new, extent in zip(given, old, strict=True)]
    policy = node.attr_str("keep_aspect_ratio_policy", "stretch")
    if policy not in ("stretch", "not_larger", "not_smaller"):
        raise node.invalid(f"keep_aspect_ratio_policy is '{policy}'")
    if policy == "stretch":
        return given, ratios
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [int(np.floor(np.float32(extent) * np.float32(ratio) + np.float32(0.5))) for extent in old], [ratio] * len(
        old
    )


def _resized(
    node: Node,
    scales: Sequence[float],
    sizes: Sequence[int],
    methods: Sequence[interpolation.Method],
    starts: Sequence[float] | None = None,
    ends: Sequence[float] | None = None,
) -> Result:
    """Interpolates along every axis whose size or scale changes, one after the other."""
    shape = node.shape(0)
    for method in methods:
        if (
            method.mode not in interpolation.MODES
            or method.coordinates not in interpolation.COORDINATES
            or method.nearest not in interpolation.NEAREST
        ):
            named = f"the mode '{method.mode}' ('{method.nearest}') with coordinates '{method.coordinates}'"
            raise node.unsupported(f"{named} is not supported")
    check_tensor(sizes)
    if min(sizes, default=1) == 0:
        return np.zeros(sizes, numpy_dtype(node.dtype(0)))
    if min(shape, default=1) == 0 or min(scales, default=1.0) <= 0:
        raise node.invalid(f"the shape {list(shape)} cannot be resized to {list(sizes)}")
    tables = {}
    for axis, (extent, size, scale, method) in enumerate(zip(shape, sizes, scales, methods, strict=True)):
        crop = (starts[axis] if starts else 0.0, ends[axis] if ends else 1.0)
        if extent != size or scale != 1.0 or crop != (0.0, 1.0) or interpolation.may_vary(node):
            check_table(max(extent, size), "the positions to interpolate at")
            tables[axis] = interpolation.taps(method, extent, size, scale, crop)
    extrapolation = node.attr_float("extrapolation_value", 0.0)
    return interpolation.emit(node, node.expr(0), tables, extrapolation=extrapolation, rounding=_rounding(methods[0]))


def _rounding(method: interpolation.Method) -> interpolation.Rounding:
    """How integers are rounded. The specification does not say: as ONNX Runtime does or, for cubic, the reference."""
    if method.antialias:
        return interpolation.Rounding.EVERY_AXIS
    return interpolation.Rounding.NEAREST if method.mode == "cubic" else interpolation.Rounding.FRACTION_DROPPED

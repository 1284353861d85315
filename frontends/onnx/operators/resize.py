"""Resize and its predecessor Upsample."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .. import interpolation
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


def _upsample(node: Node, scales: Sequence[float]) -> Result:
    mode = node.attr_str("mode", "nearest")
    return _resized(
        node,
        scales,
        [math.floor(extent * scale) for extent, scale in zip(node.shape(0), scales, strict=True)],
        interpolation.Method("nearest" if mode == "nearest" else "linear", "asymmetric", "floor"),
    )


@operator("Resize", since=10)
def resize_opset_10(node: Node) -> Result:
    """Resize as it first was: factors only, coordinates as in Upsample."""
    return _upsample(node, [float(scale) for scale in node.static(1, "the scales")])


@operator("Resize", since=11)
def resize(node: Node) -> Result:
    """Interpolation to another size; sizes or scales, every mode of coordinates, with or without antialiasing."""
    shape = node.shape(0)
    rank = len(shape)
    axes = [node.axis(axis, rank) for axis in node.attr_ints("axes") or range(rank)]
    scales, sizes = [1.0] * rank, list(shape)
    if node.has(3) and node.shape(3) != (0,):
        given = node.static_ints(3, "the sizes")
        for axis, extent, scale in zip(axes, *_sizes(node, given, [shape[axis] for axis in axes]), strict=True):
            sizes[axis], scales[axis] = extent, scale
    else:
        for axis, factor in zip(axes, node.static(2, "the scales"), strict=True):
            scales[axis], sizes[axis] = float(factor), math.floor(shape[axis] * float(factor))
    coordinates = node.attr_str("coordinate_transformation_mode", "half_pixel")
    starts, ends = [0.0] * rank, [1.0] * rank
    if coordinates == "tf_crop_and_resize":
        region = [float(each) for each in node.static(1, "the region")]
        for index, axis in enumerate(axes):
            starts[axis], ends[axis] = region[index], region[len(axes) + index]
    method = interpolation.Method(
        mode=node.attr_str("mode", "nearest"),
        coordinates=coordinates,
        nearest=node.attr_str("nearest_mode", "round_prefer_floor"),
        cubic=node.attr_float("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.attr_int("exclude_outside", 0)),
        antialias=bool(node.attr_int("antialias", 0)),
        extrapolation=node.attr_float("extrapolation_value", 0.0),
    )
    return _resized(node, scales, sizes, method, starts, ends)


def _sizes(node: Node, given: list[int], old: list[int]) -> tuple[list[int], list[float]]:
    """Output extents and factors; a policy other than `stretch` keeps the aspect ratio."""
    ratios = [new / extent for new, extent in zip(given, old, strict=True)]
    policy = node.attr_str("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return given, ratios
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    return [math.floor(extent * ratio + 0.5) for extent in old], [ratio] * len(old)


def _resized(
    node: Node,
    scales: Sequence[float],
    sizes: Sequence[int],
    method: interpolation.Method,
    starts: Sequence[float] | None = None,
    ends: Sequence[float] | None = None,
) -> Result:
    """Interpolates along every axis whose size or scale changes, one after the other."""
    shape = node.shape(0)
    if method.mode not in interpolation.MODES or method.coordinates not in interpolation.COORDINATES:
        raise node.unsupported(f"the mode '{method.mode}' with coordinates '{method.coordinates}' is not supported")
    x = node.expr(0)
    check_tensor(sizes)
    if min(sizes, default=1) == 0:
        return np.zeros(sizes, node.dtype(0))
    for axis, (extent, size, scale) in enumerate(zip(shape, sizes, scales, strict=True)):
        crop = (starts[axis] if starts else 0.0, ends[axis] if ends else 1.0)
        if extent == size and scale == 1.0 and crop == (0.0, 1.0):
            continue
        check_table(max(extent, size), "the positions to interpolate at")
        taps = interpolation.taps(method, extent, size, scale, crop)
        x = interpolation.emit_along_axis(node, x, axis, taps)
    return x

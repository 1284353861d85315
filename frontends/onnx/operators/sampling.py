"""Images read at points and in regions that are given when the model runs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tvm import relax

from .. import te_sampling, tir_roi
from ..dtypes import accumulator
from ..node import Node, Result
from ..registry import operator
from ..windows import read_window
from .cast import converted

# Opset 16 names two modes after images.
_MODES: Mapping[str, str] = MappingProxyType(
    {"nearest": "nearest", "linear": "linear", "bilinear": "linear", "cubic": "cubic", "bicubic": "cubic"}
)
_PADDINGS = ("zeros", "border", "reflection")


@operator("GridSample")
@operator("GridSample", domain="com.microsoft")
def grid_sample(node: Node) -> Result:
    """[N, C, in...] at the points of a grid [N, out..., D] with coordinates from -1 to 1."""
    shape, grid = node.shape(0), node.shape(1)
    mode, padding = node.attr_str("mode", "linear"), node.attr_str("padding_mode", "zeros")
    if mode not in _MODES or padding not in _PADDINGS:
        raise node.invalid(f"the attributes mode and padding_mode are '{mode}' and '{padding}'")
    if len(grid) != len(shape) or grid[-1] != len(shape) - 2 or grid[0] != shape[0]:
        raise node.invalid(f"a grid of shape {list(grid)} does not fit {list(shape)}")
    if _MODES[mode] == "cubic" and len(shape) > 4:
        raise node.unsupported(f"cubic interpolation in {len(shape) - 2} dimensions is not supported")
    dtype = "float64" if "float64" in (node.dtype(0), node.dtype(1)) else "float32"
    x, given = node.expr(0), node.dtype(0)
    x = node.emit(relax.op.astype(x, "uint8")) if given == "bool" else x
    result = node.emit_te(
        te_sampling.grid_sample,
        x,
        node.expr(1),
        mode=_MODES[mode],
        padding=padding,
        align_corners=node.attr_flag("align_corners", False),
        dtype=dtype,
    )
    return converted(node, result, given)


@operator("DeformConv")
def deformable_convolution(node: Node) -> Result:
    """A convolution whose windows' points are moved, and weighted: they are gathered, then it is a matrix product."""
    n, channels, height, width = node.shape(0) if len(node.shape(0)) == 4 else (0, 0, 0, 0)
    if not n:
        raise node.unsupported("only images, [N, C, H, W], are supported")
    filters, per_group, *kernel = node.shape(1)
    group, offset_groups = node.attr_int("group", 1), node.attr_int("offset_group", 1)
    window = read_window(node, (height, width), tuple(kernel))
    taps = kernel[0] * kernel[1]
    if group < 1 or offset_groups < 1 or channels % offset_groups or per_group * group != channels or filters % group:
        raise node.invalid(f"{group} groups and {offset_groups} groups of offsets do not fit {channels} channels")
    if node.shape(2) != (n, offset_groups * taps * 2, *window.output):
        raise node.invalid(f"offsets of shape {list(node.shape(2))} do not fit outputs of {list(window.output)}")
    dtype = accumulator(node.dtype(0))
    columns = node.emit_te(
        te_sampling.deformed_windows,
        node.expr(0),
        node.expr(2),
        *([node.expr(4)] if node.has(4) else []),
        kernel=kernel,
        strides=window.strides,
        dilations=window.dilations,
        begins=window.begins,
        offset_groups=offset_groups,
        dtype=dtype,
    )
    points = window.output[0] * window.output[1]
    weights = converted(node, node.expr(1), dtype)
    left = node.reshape(weights, (1, group, filters // group, per_group * taps))
    right = node.reshape(columns, (n, group, per_group * taps, points))
    result = node.reshape(relax.op.matmul(left, right), (n, filters, *window.output))
    if node.has(3):
        bias = node.reshape(converted(node, node.expr(3), dtype), (filters, 1, 1))
        result = relax.op.add(result, bias)
    return converted(node, node.emit(result), node.dtype(0))


@operator("RoiAlign", since=10)
def roi_align_without_shift(node: Node) -> Result:
    """RoiAlign as it first was: pixels are points at whole numbers."""
    return _roi_align(node, "output_half_pixel")


@operator("RoiAlign", since=16)
def roi_align(node: Node) -> Result:
    """The mean (or maximum) of samples in the bins of regions, between pixels by interpolation."""
    return _roi_align(node, node.attr_str("coordinate_transformation_mode", "half_pixel"))


def _roi_align(node: Node, coordinates: str) -> Result:
    mode = node.attr_str("mode", "avg")
    if coordinates not in ("half_pixel", "output_half_pixel") or mode not in ("avg", "max"):
        raise node.invalid(f"the mode '{mode}' with coordinates '{coordinates}'")
    shape, rois = node.shape(0), node.shape(1)
    output = (node.attr_int("output_height", 1), node.attr_int("output_width", 1))
    if len(shape) != 4 or len(rois) != 2 or rois[1] != 4 or node.shape(2) != rois[:1] or min(output) < 1:
        raise node.invalid("it takes images [N, C, H, W], regions [rois, 4] and the image of each [rois]")
    dtype = accumulator(node.dtype(0))
    kernel = tir_roi.roi_align(
        shape,
        rois[0],
        output,
        dtype=dtype,
        index_dtype=node.dtype(2),
        scale=node.attr_float("spatial_scale", 1.0),
        samples=node.attr_int("sampling_ratio", 0),
        half_pixel=coordinates == "half_pixel",
        mean=mode == "avg",
    )
    operands = [converted(node, node.expr(index), dtype) for index in (0, 1)]
    return converted(node, node.emit_kernel(kernel, *operands, node.expr(2)), node.dtype(0))


@operator("MaxRoiPool")
def max_roi_pool(node: Node) -> Result:
    """Maxima of the bins of regions whose corners are rounded to pixels."""
    shape, rois = node.shape(0), node.shape(1)
    output = node.attr_ints("pooled_shape") or ()
    if len(shape) != 4 or len(rois) != 2 or rois[1] != 5 or len(output) != 2 or min(output) < 1:
        raise node.invalid("it takes images [N, C, H, W] and regions [rois, 5], and has a pooled_shape")
    dtype = accumulator(node.dtype(0))
    kernel = tir_roi.max_roi_pool(shape, rois[0], output, dtype=dtype, scale=node.attr_float("spatial_scale", 1.0))
    operands = [node.emit(converted(node, node.expr(index), dtype)) for index in (0, 1)]
    result = node.emit_kernel(kernel, *operands)
    return converted(node, result, node.dtype(0))

"""Convolutions, pooling and resizing. TensorFlow Lite keeps channels last; ONNX has them behind the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..integers import by_range, convolution, convolution_by_range, in_integers, integer_mean, same_integers
from ..node import Node, operator
from ..schema import PADDINGS
from .elementwise import activated, biased


@operator("CONV_2D")
def conv_2d(node: Node) -> str:
    """A convolution; weights are [out][height][width][in of a group]."""
    _, height, width, per_group = node.tensor(1).shape
    groups = node.tensor(0).shape[-1] // max(1, per_group)
    return _convolution(node, (0, 3, 1, 2), (height, width), groups)


@operator("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(node: Node) -> str:
    """A convolution of each channel for itself; weights are [1][height][width][out]."""
    _, height, width, _ = node.tensor(1).shape
    return _convolution(node, (3, 0, 1, 2), (height, width), node.tensor(0).shape[-1])


def _convolution(node: Node, order: Sequence[int], kernel: tuple[int, int], groups: int) -> str:
    """A convolution by weights that `order` brings into ONNX's order."""
    dilations = [max(1, node.option("dilation_h")), max(1, node.option("dilation_w"))]
    attributes = {
        "group": groups,
        "kernel_shape": kernel,
        "strides": _strides(node),
        "dilations": dilations,
        "pads": _pads(node, node.tensor(0).shape[1:3], kernel, dilations),
    }
    if in_integers(node, 0, 1):
        return convolution(node, 0, 1, order, 2, attributes)
    if by_range(node):
        return activated(node, biased(node, convolution_by_range(node, order, attributes)))
    weights = _weights(node, 1, order, axis=0)
    inputs = [_channels_first(node, node.value(0)), weights, *([node.value(2)] if node.has(2) else [])]
    return activated(node, _channels_last(node, node.emit("Conv", *inputs, **attributes)))


@operator("TRANSPOSE_CONV")
def transpose_conv(node: Node) -> str:
    """A transposed convolution of its input 2; input 0 is the output's shape, weights are [out][height][width][in]."""
    size = [int(each) for each in node.known(0)][1:3]
    _, height, width, _ = node.tensor(1).shape
    strides = _strides(node)
    weights = _weights(node, 1, (3, 0, 1, 2), axis=1)
    data = node.tensor(2).shape[1:3]
    # The pads are those of the convolution that this undoes: what is beyond the output is cut off.
    total = [(n - 1) * s + k - m for n, s, k, m in zip(data, strides, (height, width), size, strict=True)]
    begins, more = [max(0, each) // 2 for each in total], [max(0, -each) for each in total]
    ends = [max(0, each) - begin for each, begin in zip(total, begins, strict=True)]
    inputs = [_channels_first(node, node.value(2)), weights, *([node.value(3)] if node.has(3) else [])]
    result = node.emit("ConvTranspose", *inputs, strides=strides, pads=[*begins, *ends], output_padding=more)
    return activated(node, _channels_last(node, result))


@operator("AVERAGE_POOL_2D", "MAX_POOL_2D")
def pool_2d(node: Node) -> str:
    """The mean or the largest of a window; padding does not count."""
    kernel = (node.option("filter_h"), node.option("filter_w"))
    pads = _pads(node, node.tensor(0).shape[1:3], kernel, [1, 1])
    attributes = {"kernel_shape": kernel, "strides": _strides(node), "pads": pads}
    if node.kind == "AVERAGE_POOL_2D" and same_integers(node):
        return integer_mean(node, attributes)
    op_type = "AveragePool" if node.kind.startswith("AVERAGE") else "MaxPool"
    result = node.emit(op_type, _channels_first(node, node.value(0)), **attributes)
    return activated(node, _channels_last(node, result))


@operator("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def resize(node: Node) -> str:
    """Another height and width, by TensorFlow's three ways of placing pixels."""
    linear = node.kind == "RESIZE_BILINEAR"
    height, width = (int(each) for each in node.known(1))
    batch, _, _, channels = node.tensor(0).shape
    corners, centers = bool(node.option("align_corners")), bool(node.option("half_pixel_centers"))
    mode = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    rounding = "round_prefer_ceil" if corners or centers else "floor"
    result = node.emit(
        "Resize",
        _channels_first(node, node.value(0)),
        "",
        "",
        node.integers([batch, channels, height, width]),
        mode="linear" if linear else "nearest",
        coordinate_transformation_mode=mode,
        nearest_mode=rounding if not linear else None,
    )
    return _channels_last(node, result)


@operator("SPACE_TO_DEPTH", "DEPTH_TO_SPACE")
def blocks(node: Node) -> str:
    """Blocks of pixels to channels or back; the channel counts fastest in both."""
    op_type = "SpaceToDepth" if node.kind.startswith("SPACE") else "DepthToSpace"
    data = _channels_first(node, node.value(0))
    return _channels_last(node, node.emit(op_type, data, blocksize=node.option("block_size")))


def _weights(node: Node, index: int, order: Sequence[int], axis: int) -> str:
    """Constant weights in ONNX's order; they stay integers until they are dequantized, along `axis` of that order."""
    tensor = node.tensor(index)
    if tensor.data is None:
        return node.emit("Transpose", node.value(index), perm=order)
    stored = node.builder.constant(np.transpose(tensor.data, order), tensor.name)
    return node.builder.dequantized(stored, tensor, axis) if tensor.quantization else stored


def _strides(node: Node) -> list[int]:
    return [node.option("stride_h"), node.option("stride_w")]


def _pads(node: Node, data: Sequence[int], kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """None, or as many as keep ceil(size / stride) pixels: of an odd number one more at the end."""
    if PADDINGS[node.option("padding")] == "VALID":
        return [0, 0, 0, 0]
    begins, ends = [], []
    for size, stride, width, dilation in zip(data, _strides(node), kernel, dilations, strict=True):
        total = max(0, (-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size)
        begins.append(total // 2)
        ends.append(total - total // 2)
    return [*begins, *ends]


def _channels_first(node: Node, value: str) -> str:
    return node.emit("Transpose", value, perm=[0, 3, 1, 2])


def _channels_last(node: Node, value: str) -> str:
    return node.emit("Transpose", value, perm=[0, 2, 3, 1])

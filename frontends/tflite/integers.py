"""Products of quantized tensors in integers, as TensorFlow Lite computes them: sums in int32, rounded once.

ONNX's operators for it, QLinearConv and ONNX Runtime's QGemm, scale the sums by (s_a * s_b) / s_y in float32, which is
what TensorFlow Lite's kernels (XNNPACK) do, so that results are equal to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from .builder import MICROSOFT
from .node import Node
from .schema import ACTIVATIONS, BOUNDS

_BYTES = ("int8", "uint8")


def in_integers(node: Node, data: int, weights: int) -> bool:
    """Whether a product's operands and result are bytes, its weights constant, its activation no more than a bound."""
    tensors = (node.tensor(data), node.tensor(weights), node.output(0))
    return all(each.quantization is not None and each.dtype in _BYTES for each in tensors) and (
        tensors[1].data is not None and ACTIVATIONS[node.option("activation")] in ("NONE", *BOUNDS)
    )


def convolution(
    node: Node, data: int, weights: int, order: Sequence[int], bias: int, attributes: dict[str, Any]
) -> str:
    """QLinearConv of an input, channels last, and weights that `order` brings into ONNX's order; channels last."""
    builder = node.builder
    first = node.emit("Transpose", builder.stored(node.place(data)), perm=[0, 3, 1, 2])
    stored = builder.constant(np.transpose(node.known(weights), order), node.tensor(weights).name)
    inputs = [first, *builder.parameters(node.tensor(data)), stored, *builder.parameters(node.tensor(weights))]
    inputs += builder.parameters(node.output(0))
    if node.has(bias):
        inputs.append(builder.stored(node.place(bias)))
    result = node.emit("QLinearConv", *inputs, **attributes)
    return node.emit("Transpose", _within(node, result), perm=[0, 2, 3, 1])


def matrix_product(node: Node, rows: str, bias: int) -> str:
    """QGemm of rows and weights [out][in], which are inputs 0 and 1."""
    builder = node.builder
    inputs = [rows, *builder.parameters(node.tensor(0))]
    inputs += [builder.stored(node.place(1)), *builder.parameters(node.tensor(1))]
    inputs += [builder.stored(node.place(bias)) if node.has(bias) else "", *builder.parameters(node.output(0))]
    return _within(node, node.emit("QGemm", *inputs, transB=1, domain=MICROSOFT))


def by_range(node: Node) -> bool:
    """Whether inputs are quantized by the range they have when the model runs: weights of integers, all else floats.

    TensorFlow calls it dynamic range quantization.
    """
    given, weights, made = node.tensor(0), node.tensor(1), node.output(0)
    floats = given.dtype == made.dtype == "float32" and not given.quantization and not made.quantization
    return floats and weights.dtype == "int8" and weights.data is not None and weights.quantization is not None


def convolution_by_range(node: Node, order: Sequence[int], attributes: dict[str, Any]) -> str:
    """A convolution of floats, quantized to 8 bits by their range, and weights; without its bias, channels last.

    Each sample has a range, and where a window is one pixel each pixel, as XNNPACK has it.
    """
    weights = node.known(1)
    pixels = weights.shape[1:3] == (1, 1) and attributes["strides"] == [1, 1]
    integers, scale = _quantized(node, node.value(0), [-1] if pixels else [1, 2, 3])
    kernel = node.constant(np.transpose(weights, order), np.float32)
    first = node.emit("Transpose", integers, perm=[0, 3, 1, 2])
    sums = node.emit("Transpose", node.emit("Conv", first, kernel, **attributes), perm=[0, 2, 3, 1])
    return _rescaled(node, sums, scale)


def matrix_product_by_range(node: Node, rows: str) -> str:
    """Rows of floats, each quantized to 8 bits by its range, times weights [out][in]; without its bias."""
    integers, scale = _quantized(node, rows, [-1])
    return _rescaled(node, node.emit("MatMul", integers, node.constant(node.known(1).T, np.float32)), scale)


def _quantized(node: Node, value: str, axes: Sequence[int]) -> tuple[str, str]:
    """Integers less their zero point, as floats, which hold them and their sums exactly; and their scale."""
    nothing = node.constant(0, np.float32)
    low = node.emit("Min", node.emit("ReduceMin", value, node.integers(axes), keepdims=1), nothing)
    high = node.emit("Max", node.emit("ReduceMax", value, node.integers(axes), keepdims=1), nothing)
    reach = node.emit("Max", node.emit("Sub", high, low), node.constant(1e-30, np.float32))
    per_unit = node.emit("Div", node.constant(255, np.float32), reach)
    zero = node.emit("Round", node.emit("Neg", node.emit("Mul", low, per_unit)))
    moved = node.emit("Add", node.emit("Round", node.emit("Mul", value, per_unit)), zero)
    inside = node.emit("Clip", moved, nothing, node.constant(255, np.float32))
    return node.emit("Sub", inside, zero), node.emit("Reciprocal", per_unit)


def _rescaled(node: Node, sums: str, scale: str) -> str:
    quantization = node.tensor(1).quantization
    assert quantization is not None
    return node.emit("Mul", sums, node.emit("Mul", scale, node.constant(quantization.scales)))


def same_integers(node: Node) -> bool:
    """Whether integers mean the same before and after a node, and may be averaged as they are."""
    given, made = node.tensor(0), node.output(0)
    return given.dtype in _BYTES and given.quantization is not None and given.quantization.same_as(made.quantization)


def integer_mean(node: Node, attributes: dict[str, Any]) -> str:
    """The mean of integers in a window, halves rounded away from zero; channels last."""
    data = node.builder.stored(node.place(0))
    first = node.emit("Transpose", node.emit("Cast", data, to=onnx.TensorProto.FLOAT), perm=[0, 3, 1, 2])
    mean = node.emit("AveragePool", first, **attributes)
    half = node.constant(0.5, np.float32)
    size = node.emit("Floor", node.emit("Add", node.emit("Abs", mean), half))
    signed = node.emit("Mul", size, node.emit("Sign", mean))
    dtype = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(node.output(0).dtype))
    return node.emit("Transpose", _within(node, node.emit("Cast", signed, to=dtype)), perm=[0, 2, 3, 1])


def _within(node: Node, result: str) -> str:
    """Integers within what a fused activation leaves, where that is less than their range."""
    node.stays = True
    tensor = node.output(0)
    assert tensor.quantization is not None
    scale, zero = float(tensor.quantization.scales[0]), int(tensor.quantization.zero_points[0])
    limits = np.iinfo(tensor.dtype)
    low, high = (
        real if real is None else max(limits.min, min(limits.max, zero + round(real / scale)))
        for real in BOUNDS.get(ACTIVATIONS[node.option("activation")], (None, None))
    )
    ends = [limits.min if low is None else low, limits.max if high is None else high]
    if ends == [limits.min, limits.max]:
        return result
    return node.emit("Clip", result, *(node.constant(end, tensor.dtype) for end in ends))

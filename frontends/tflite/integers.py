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

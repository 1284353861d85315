"""A small network with pairs of quantize and dequantize, in the way of ONNX Runtime's quantizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
_CHANNELS = 24


class _Network:
    """A small network under construction, in the way of ONNX Runtime's quantizer."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.rng = np.random.default_rng(0)

    def node(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name

    def weight(self, array: Array) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def pair(self, x: str, scale: float, zero: int) -> str:
        """x, quantized; the zero point counts from the least integer."""
        zero += int(np.iinfo(self.dtype).min)
        parameters = self.weight(np.float32(scale)), self.weight(np.asarray(zero, self.dtype))
        return self.node("DequantizeLinear", self.node("QuantizeLinear", x, *parameters), *parameters)

    def constant(self, array: Array, scale: Array, axis: int) -> str:
        zeros = self.weight(np.zeros(scale.shape, array.dtype))
        return self.node("DequantizeLinear", self.weight(array), self.weight(scale), zeros, axis=axis)

    def convolution(self, x: str, scale: float, shape: tuple[int, ...], **how: Any) -> str:
        """With weights of int8 and a bias of int32, both by channels."""
        scales = self.rng.uniform(0.5, 2, shape[0]).astype("f4") / np.float32(127 * np.sqrt(np.prod(shape[1:])))
        weights = self.constant(self.rng.integers(-127, 128, shape).astype("i1"), scales, 0)
        bias = self.constant(self.rng.integers(-999, 999, shape[0]).astype("i4"), np.float32(scale) * scales, 0)
        return self.node("Conv", x, weights, bias, **how)


def network(dtype: str, *, functions: bool = True, zero: int = 0) -> onnx.ModelProto:
    """A first layer of three channels, a pool, depthwise and pointwise layers, a sum, a concatenation, a classifier.

    Args:
        functions: whether there is a function of floats, whose last digits differ from machine to machine.
        zero: of what the depthwise layer reads, counted from the least integer.
    """
    net = _Network(dtype)
    x = net.pair("x", 0.03, 120)
    x = net.node("Relu", net.convolution(x, 0.03, (_CHANNELS, 3, 3, 3), pads=[1] * 4, strides=[2, 2]))
    x = net.pair(x, 0.02, zero)
    x = net.pair(net.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 0.02, zero)
    y = net.node("Clip", net.convolution(x, 0.02, (_CHANNELS, 1, 3, 3), pads=[1] * 4, group=_CHANNELS), *_bounds(net))
    y = net.pair(y, 0.02, 0)
    y = net.pair(net.convolution(y, 0.02, (_CHANNELS, _CHANNELS, 1, 1)), 0.04, 130)
    x = net.pair(net.node("Add", x, y), 0.04, 100)
    y = net.pair(net.convolution(x, 0.04, (40, _CHANNELS, 3, 3), pads=[1] * 4), 0.05, 128)
    if functions:
        y = net.node("Mul", y, net.pair(net.node("Sigmoid", y), 1 / 256, 0))
    y = net.pair(y, 0.04, 100)
    x = net.pair(net.node("Concat", x, y, axis=1), 0.04, 100)
    x = net.pair(net.node("GlobalAveragePool", x), 0.02, 90)
    x = net.node("Flatten", x)
    weights = net.rng.integers(-127, 128, (10, _CHANNELS + 40)).astype("i1")
    y = net.node("Gemm", x, net.constant(weights, np.full(10, 1e-3, "f4"), 0), transB=1)
    net.pair(y, 0.01, 127)
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 3, 19, 21))]
    outputs = [helper.make_tensor_value_info(net.nodes[-1].output[0], TensorProto.FLOAT, None)]
    initializers = [numpy_helper.from_array(array, name) for name, array in net.weights.items()]
    graph = helper.make_graph(net.nodes, "quantized", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _bounds(net: _Network) -> tuple[str, str]:
    return net.weight(np.float32(0)), net.weight(np.float32(3))

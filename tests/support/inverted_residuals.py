"""Networks like MobileNetV2, of any size, with random weights: in float, and quantized by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

# Expansion, channels, blocks, stride of the first: MobileNetV2's.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class Network:
    """Nodes and weights, one layer after the other."""

    def __init__(self, size: tuple[int, int], seed: int = 0) -> None:
        self.size = size
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shape = (3, *size)
        self._generator = np.random.default_rng(seed)

    def convolution(
        self, x: str, channels: int, kernel: int = 1, stride: int = 1, *, depthwise: bool = False, clip: bool = True
    ) -> str:
        """A convolution with a bias and, if `clip`, a Relu6."""
        number = len(self.nodes)
        inputs, *space = self.shape
        per_group = 1 if depthwise else inputs
        shape = (channels, per_group, kernel, kernel)
        weights = self._generator.standard_normal(shape) * np.sqrt(2 / (per_group * kernel * kernel))
        for name, value in ((f"w{number}", weights), (f"b{number}", self._generator.standard_normal(channels) / 4)):
            self.weights.append(numpy_helper.from_array(value.astype(np.float32), name))
        names = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
        groups = inputs if depthwise else 1
        result = f"c{number}"
        inner = [x, f"w{number}", f"b{number}"]
        self.nodes.append(helper.make_node("Conv", inner, [result], result, group=groups, **names))
        height, width = ((each + 2 * (kernel // 2) - kernel) // stride + 1 for each in space)
        self.shape = (channels, height, width)
        return self._clipped(result) if clip else result

    def _clipped(self, x: str) -> str:
        result = f"r{x}"
        self.nodes.append(helper.make_node("Clip", [x, "low", "high"], [result], result))
        return result

    def block(self, x: str, expansion: int, channels: int, stride: int, kernel: int = 3) -> str:
        """An inverted residual."""
        inputs = self.shape[0]
        inner = self.convolution(x, inputs * expansion) if expansion > 1 else x
        inner = self.convolution(inner, inputs * expansion, kernel, stride, depthwise=True)
        result = self.convolution(inner, channels, clip=False)
        if stride == 1 and inputs == channels:
            self.nodes.append(helper.make_node("Add", [x, result], [f"s{result}"], f"s{result}"))
            result = f"s{result}"
        return result

    def model(self, result: str, outputs: tuple[int, ...]) -> onnx.ModelProto:
        """All of it as a model from `x` to `y`."""
        self.nodes[-1].output[0] = "y"
        del result
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (1, 3, *self.size))],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, outputs)],
            [
                *self.weights,
                *(numpy_helper.from_array(np.float32(bound), name) for name, bound in (("low", 0), ("high", 6))),
            ],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(proto)
        return proto


def rounded(channels: float) -> int:
    """Channels as MobileNets have them: a multiple of 8, not below nine tenths."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found


def mobilenet(size: int = 144, width: float = 0.35, classes: int = 1000) -> onnx.ModelProto:
    """MobileNetV2, with random weights."""
    network = Network((size, size))
    x = network.convolution("x", rounded(32 * width), 3, 2)
    for expansion, channels, count, stride in STAGES:
        for number in range(count):
            x = network.block(x, expansion, rounded(channels * width), 1 if number else stride)
    x = network.convolution(x, 1280)
    network.nodes.append(helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"))
    network.nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"], "flat"))
    generator = np.random.default_rng(1)
    matrix = (generator.standard_normal((1280, classes)) / 36).astype(np.float32)
    network.weights.append(numpy_helper.from_array(matrix, "matrix"))
    network.nodes.append(helper.make_node("MatMul", ["flat", "matrix"], ["y"], "classes"))
    return network.model("y", (1, classes))


def small(size: tuple[int, int], stages: Sequence[tuple[int, int, int, int]], kernel: int = 3) -> onnx.ModelProto:
    """A convolution of stride 2, and blocks of expansion, channels, stride and kernel."""
    network = Network(size)
    x = network.convolution("x", 8, kernel, 2)
    for expansion, channels, stride, window in stages:
        x = network.block(x, expansion, channels, stride, window)
    return network.model(x, (1, *network.shape))


class _Random(CalibrationDataReader):  # type: ignore[misc]  # it has no types
    def __init__(self, size: Sequence[int], count: int) -> None:
        generator = np.random.default_rng(2)
        self._left = [{"x": generator.standard_normal((1, 3, *size)).astype(np.float32)} for _ in range(count)]

    def get_next(self) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]] | None:
        return self._left.pop() if self._left else None


def quantized(proto: onnx.ModelProto, folder: Path, count: int = 2) -> onnx.ModelProto:
    """The same in int8, as pairs of QuantizeLinear and DequantizeLinear, calibrated with noise."""
    size = [int(each.dim_value) for each in proto.graph.input[0].type.tensor_type.shape.dim][2:]
    path, result = folder / "float.onnx", folder / "int8.onnx"
    onnx.save(proto, path)
    quantize_static(
        path,
        result,
        _Random(size, count),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
    )
    return onnx.load(result)

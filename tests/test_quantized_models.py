"""Models with pairs of quantize and dequantize: integers inside of the library, and the numbers of ONNX Runtime."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from onnx import TensorProto, helper, numpy_helper
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_file
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.runners.device import DeviceRunner
from tilewright.compiler.runners.places import place_of

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


def network(dtype: str, *, functions: bool = True) -> onnx.ModelProto:
    """A first layer of three channels, a pool, depthwise and pointwise layers, a sum, a concatenation, a classifier.

    Args:
        functions: whether there is a function of floats, whose last digits differ from machine to machine.
    """
    net = _Network(dtype)
    x = net.pair("x", 0.03, 120)
    x = net.node("Relu", net.convolution(x, 0.03, (_CHANNELS, 3, 3, 3), pads=[1] * 4, strides=[2, 2]))
    x = net.pair(x, 0.02, 0)
    x = net.pair(net.node("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4), 0.02, 0)
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


# A triple, a CPU, the unit that multiplies, and what its operands are.
MACHINES = [
    ("aarch64-linux-gnu", "neoverse-n1", "NEON-SDOT", "int8"),
    ("aarch64-linux-gnu", "neoverse-v1", "NEON-USMMLA", "uint8"),
    ("aarch64-linux-gnu", "cortex-a53", "NEON-INT8", "uint8"),
    ("armv7-linux-gnueabihf", "cortex-a7", "NEON-INT8", "uint8"),
    ("riscv64-linux-gnu", None, None, "uint8"),
]


@pytest.mark.parametrize(
    "machine", [*MACHINES[:2], *(pytest.param(each, marks=pytest.mark.slow) for each in MACHINES[2:])], ids=str
)
def test_other_machines_compute_the_same_bits(machine: tuple[str, str | None, str, str], tmp_path: Path) -> None:
    triple, cpu, unit, operand = machine
    if shutil.which(f"qemu-{triple.partition('-')[0].removesuffix('v7')}") is None:
        pytest.skip("there is no qemu-user")
    model = network("uint8", functions=False)
    x = {"x": 2 * np.random.default_rng(1).standard_normal((2, 3, 19, 21)).astype("f4")}
    (expected,) = tilewright.compile(model, threads=1, jobs=1).run(x).values()

    made = build(model, tmp_path / "net.so", CompileOptions(triple, cpu=cpu, threads=1, jobs=1))
    (actual,) = DeviceRunner(place_of("qemu")).run(read_file(tmp_path / "net.so"), x).values()

    np.testing.assert_array_equal(actual, expected)
    assert made.target.integer_operand == operand
    assert unit is None or unit in {each.name for each in made.target.units}
    templates = [kernel.template for kernel in made.signature.kernels]
    assert templates.count("contraction" if unit is None else "dot_product") == 4


@pytest.mark.parametrize(("cpu", "dtype"), [(None, "int8"), (None, "uint8"), ("x86-64", "int8")])
def test_a_network_of_pairs(cpu: str | None, dtype: str) -> None:
    model = network(dtype)
    x = 2 * np.random.default_rng(1).standard_normal((2, 3, 19, 21)).astype("f4")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]

    compiled = tilewright.compile(model, cpu=cpu, threads=1, jobs=1)
    actual = compiled.run({"x": x})

    (actual,) = actual.values()
    assert np.unique(expected).size > 10
    # Sums of integers are exact, those of floats round: the unit of the result is 0.01.
    assert np.abs(actual - expected).max() < 0.0101 and (actual == expected).mean() > 0.9
    templates = [kernel.template for kernel in compiled.signature.kernels]
    assert templates.count("dot_product") == 4 and "contraction" not in templates

"""Models with pairs of quantize and dequantize: integers inside of the library, and the numbers of ONNX Runtime."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from onnx import helper, numpy_helper
from quantized_network import network
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import read_file
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.pipeline import passes
from tilewright.compiler.runners.device import DeviceRunner
from tilewright.compiler.runners.places import place_of
from tilewright.frontends import front_door
from tilewright.ir_passes import run_passes
from tilewright.ir_passes.core.graph import Graph
from tilewright.ir_passes.core.match import calls
from tilewright.ir_passes.core.rewriter import dtype_of
from tilewright.targets.host import read_host

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


@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-linux-gnu", "x86-64-v2"),
        ("x86_64-linux-gnu", "sapphirerapids"),
        ("aarch64-linux-gnu", "cortex-a53"),
        ("aarch64-linux-gnu", "neoverse-n1"),
        ("thumbv7em-none-eabihf", "cortex-m4"),
        ("thumbv8.1m.main-none-eabihf", "cortex-m55"),
    ],
)
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_between_kernels_integers_are_bytes(triple: str, cpu: str, dtype: str) -> None:
    """Layers that read integers in more bits make them of bytes themselves: tensors are no larger than they must be."""
    loaded = front_door.load(front_door.open(network(dtype, functions=False, zero=3)))
    target = targets.parse(triple, cpu=cpu)
    whole = passes(target)
    until = [each.name for each in whole].index("fuse_epilogues") + 1
    bindings = Graph.read(run_passes(loaded.module, whole[:until]).module).bindings
    made = [dtype_of(var) for var, value in bindings if calls(value, "call_tir")]
    assert len(made) > 6 and set(made[:-1]) <= {"int8", "uint8", "float32"}, made


def pointwise(channels: int, *, one_scale: bool = False) -> onnx.ModelProto:
    """A pair, and a convolution of one pixel, with a scale for each of its columns or one for all."""
    generator = np.random.default_rng(0)
    weights = generator.integers(-127, 128, (24, channels, 1, 1)).astype("int8")
    scales, zeros = np.linspace(0.01, 0.02, 24, dtype="f4"), np.zeros(24, "int8")
    if one_scale:
        scales, zeros = scales[0], zeros[0]
    constants = {"s": np.float32(0.03), "z": np.uint8(121), "w": weights, "ws": scales, "wz": zeros}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wd"], axis=0),
        helper.make_node("Conv", ["d", "wd"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, channels, 5, 7])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 24, 5, 7])
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    return helper.make_model(
        helper.make_graph(nodes, "pointwise", [given], [result], held), opset_imports=[helper.make_opsetid("", 17)]
    )


def test_weights_of_one_scale_are_multiplied_as_integers() -> None:
    made = tilewright.compile(pointwise(24, one_scale=True), threads=1, jobs=1)
    assert "dot_product" in [kernel.template for kernel in made.signature.kernels]


@pytest.mark.parametrize("triple", ["aarch64-linux-gnu", "armv7-linux-gnueabihf"])
def test_a_prime_number_of_channels(triple: str, tmp_path: Path) -> None:
    """Groups of one product, of which one is loaded: no vector."""
    if shutil.which(f"qemu-{triple.partition('-')[0].removesuffix('v7')}") is None:
        pytest.skip("there is no qemu-user")
    model, x = pointwise(19), {"x": np.random.default_rng(1).standard_normal((1, 19, 5, 7)).astype("f4")}
    (expected,) = tilewright.compile(model, threads=1, jobs=1).run(x).values()

    made = build(model, tmp_path / "net.so", CompileOptions(triple, threads=1, jobs=1))
    (actual,) = DeviceRunner(place_of("qemu")).run(read_file(tmp_path / "net.so"), x).values()

    np.testing.assert_array_equal(actual, expected)
    assert "dot_product" in [kernel.template for kernel in made.signature.kernels]


def attending(dtype: str, *, probabilities: bool) -> onnx.ModelProto:
    """Attention with pairs on queries and keys, and perhaps on probabilities and values."""
    nodes: list[onnx.NodeProto] = []
    held: dict[str, np.ndarray] = {"root": np.float32(0.2)}
    least = int(np.iinfo(dtype).min)

    def made(op_type: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(nodes)}"
        nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name

    def pair(x: str, scale: float, zero: int) -> str:
        names = f"s{len(nodes)}", f"z{len(nodes)}"
        held.update({names[0]: np.float32(scale), names[1]: np.asarray(zero + least, dtype)})
        return made("DequantizeLinear", made("QuantizeLinear", x, *names), *names)

    q, k = pair("q", 0.02, 120), made("Transpose", pair("k", 0.02, 128), perm=[0, 1, 3, 2])
    p = made("Softmax", made("Mul", made("MatMul", q, k), "root"), axis=-1)
    p, v = (pair(p, 1 / 255, 0), pair("v", 0.02, 100)) if probabilities else (p, "v")
    result = made("MatMul", p, v)
    shapes = {"q": (2, 3, 21, 24), "k": (2, 3, 30, 24), "v": (2, 3, 30, 16)}
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    outputs = [helper.make_tensor_value_info(result, onnx.TensorProto.FLOAT, (2, 3, 21, 16))]
    initializers = [numpy_helper.from_array(np.asarray(array), name) for name, array in held.items()]
    graph = helper.make_graph(nodes, "attending", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.mark.parametrize(
    ("cpu", "dtype", "probabilities"),
    [
        ("icelake-server", "uint8", False),
        ("icelake-server", "uint8", True),
        ("haswell", "int8", True),
        ("x86-64", "uint8", True),
    ],
)
def test_attention_of_pairs(cpu: str, dtype: str, probabilities: bool) -> None:
    """Products of two activations are integers; those of queries and keys within attention, where that is faster."""
    generator = np.random.default_rng(1)
    model = attending(dtype, probabilities=probabilities)
    x = {each.name: generator.standard_normal(_shape(each)).astype("f4") for each in model.graph.input}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, x)[0]

    target = targets.parse("x86_64-linux-gnu", cpu=cpu).for_dtypes({"uint8", "int8"})
    if not set(target.required_features) <= read_host().features:
        pytest.skip(f"this processor is no {cpu}")
    compiled = tilewright.compile(model, cpu=cpu, threads=1, jobs=1)
    (actual,) = compiled.run(x).values()

    templates = [kernel.template for kernel in compiled.signature.kernels]
    assert templates.count("dot_product") == (2 if probabilities else 0)
    assert templates.count("attention") == (0 if probabilities else 1)
    assert probabilities or "rows" in templates  # the sums of keys, which the zero point of queries is multiplied by
    # A probability that is half-way between two integers may become either: a unit of 1/255 times a value.
    assert np.abs(actual - expected).max() < (np.abs(x["v"]).max() / 255 if probabilities else 1e-5)


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [each.dim_value for each in value.type.tensor_type.shape.dim]


@pytest.mark.sweep(2)
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
    products = sum(templates.count(each) for each in ("dot_product", "integer_winograd"))
    assert products == 4 and "contraction" not in templates

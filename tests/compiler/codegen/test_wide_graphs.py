"""Graphs of thousands of nodes, inputs or outputs: the time to compile them grows with their size, not its square."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from onnx import TensorProto, helper, numpy_helper

# Of processor time. Each takes about ten; before, it was minutes.
LIMIT_SECONDS = 60.0
GENERATOR = np.random.default_rng(0)


def _model(
    nodes: list[Any], inputs: dict[str, Any], outputs: list[str], constants: dict[str, Any] | None = None
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in (constants or {}).items()],
    )
    graph = onnx.shape_inference.infer_shapes(_with_opset(graph)).graph
    return _with_opset(graph)


def _with_opset(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=7)


def concat(count: int) -> onnx.ModelProto:
    names = [f"x{i}" for i in range(count)]
    return _model([helper.make_node("Concat", names, ["y"], axis=1)], dict.fromkeys(names, (2, 3)), ["y"])


def outputs(count: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", f"c{i}"], [f"y{i}"]) for i in range(count)]
    constants = {f"c{i}": GENERATOR.standard_normal(4).astype(np.float32) for i in range(count)}
    return _model(nodes, {"x": (4,)}, [f"y{i}" for i in range(count)], constants)


def split(count: int) -> onnx.ModelProto:
    names = [f"y{i}" for i in range(count)]
    return _model([helper.make_node("Split", ["x"], names, axis=1)], {"x": (2, count)}, names)


def split_and_concat(count: int) -> onnx.ModelProto:
    nodes = [helper.make_node("Split", ["x"], [f"p{i}" for i in range(count)], axis=1)]
    nodes += [helper.make_node("Relu", [f"p{i}"], [f"r{i}"]) for i in range(count)]
    nodes.append(helper.make_node("Concat", [f"r{i}" for i in reversed(range(count))], ["y"], axis=1))
    return _model(nodes, {"x": (2, 3 * count)}, ["y"])


def chain(count: int) -> onnx.ModelProto:
    kinds = ("Relu", "Neg", "Floor", "Abs")
    nodes = [helper.make_node(kinds[i % 4], [f"a{i}"], [f"a{i + 1}"]) for i in range(count)]
    return _model(nodes, {"a0": (4, 33)}, [f"a{count}"])


def products(count: int) -> onnx.ModelProto:
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("MatMul", [f"a{i}", "w"], [f"m{i}"]))
        nodes.append(helper.make_node("Add", [f"m{i}", "b"], [f"a{i + 1}"]))
    constants = {"w": np.eye(8, dtype=np.float32)[::-1] * 0.9, "b": np.linspace(-1, 1, 8, dtype=np.float32)}
    return _model(nodes, {"a0": (4, 8)}, [f"a{count}"], constants)


def scalings(count: int) -> onnx.ModelProto:
    kinds = ("Mul", "Div")
    nodes = [helper.make_node(kinds[i % 2], [f"a{i}", "c"], [f"a{i + 1}"]) for i in range(count)]
    return _model(nodes, {"a0": (3, 24)}, [f"a{count}"], {"c": np.linspace(0.9, 1.1, 24, dtype=np.float32)})


def doubling(count: int) -> onnx.ModelProto:
    kinds = ("Add", "Mul", "Sub")
    nodes = [helper.make_node(kinds[i % 3], [f"a{i}", f"a{i}"], [f"a{i + 1}"]) for i in range(count)]
    return _model(nodes, {"a0": (4,)}, [f"a{count}"])


def diamonds(count: int) -> onnx.ModelProto:
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("Sigmoid", [f"a{i}"], [f"s{i}"]))
        nodes.append(helper.make_node("Mul", [f"a{i}", f"s{i}"], [f"m{i}"]))
        nodes.append(helper.make_node("Sub", [f"a{i}", f"m{i}"], [f"a{i + 1}"]))
    return _model(nodes, {"a0": (4, 33)}, [f"a{count}"])


def reflections(count: int) -> onnx.ModelProto:
    """Each reads positions that the one before works out: as one expression they would grow exponentially."""
    nodes = []
    for i in range(count):
        nodes.append(helper.make_node("Pad", [f"a{i}", "pads"], [f"p{i}"], mode="reflect"))
        nodes.append(helper.make_node("Slice", [f"p{i}", "starts", "ends"], [f"a{i + 1}"]))
    constants = {"pads": np.array([1, 2, 1, 2]), "starts": np.array([0, 1]), "ends": np.array([5, 21])}
    return _model(nodes, {"a0": (5, 20)}, [f"a{count}"], constants)


def _agrees(model: onnx.ModelProto) -> float:
    """Compiles, compares with ONNX Runtime, and returns the seconds of processor time that compiling took."""
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.input}
    inputs = {name: GENERATOR.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    began = time.process_time()
    compiled = tilewright.compile(model, threads=1, jobs=1)
    seconds = time.process_time() - began
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, inputs)
    for got, wanted in zip(compiled.run(inputs).values(), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    return seconds


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("make", "count"),
    [
        (concat, 150),
        (split_and_concat, 70),
        (outputs, 60),
        (products, 40),
        (scalings, 520),
        (doubling, 30),
        (diamonds, 30),
        (reflections, 8),
    ],
)
def test_some_of_each_compute_what_they_should(make: Callable[[int], onnx.ModelProto], count: int) -> None:
    _agrees(make(count))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "count"),
    [
        (concat, 3000),
        (outputs, 1500),
        (split, 1500),
        (split_and_concat, 700),
        (chain, 3000),
        (products, 1500),
        (scalings, 1500),
        (doubling, 60),
        (diamonds, 300),
        (reflections, 200),
    ],
)
def test_thousands_compile_in_seconds(make: Callable[[int], onnx.ModelProto], count: int) -> None:
    assert _agrees(make(count)) < LIMIT_SECONDS

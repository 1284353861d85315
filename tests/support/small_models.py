"""Small ONNX models with given nodes, for tests of the commands: written by hand, checked by ONNX."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Shape = Sequence[int | str]
Border = Mapping[str, tuple[str, Shape]]


def node(operator: str, inputs: Sequence[str], output: str, name: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, list(inputs), [output], name, **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Border,
    outputs: Border,
    constants: Mapping[str, np.ndarray[Any, Any]] | None = None,
) -> onnx.ModelProto:
    """A model of opset 20; borders are name -> (numpy dtype, shape)."""
    graph = helper.make_graph(
        list(nodes),
        "graph",
        [_info(name, *kind) for name, kind in inputs.items()],
        [_info(name, *kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(proto)
    return proto


def _info(name: str, dtype: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), list(shape))


def swish_network() -> onnx.ModelProto:
    """Three products with tanh, x * sigmoid(x) and relu after them: enough for fusion and for bisecting."""
    generator = np.random.default_rng(0)
    weights = {f"w{i}": (generator.standard_normal((16, 16)) / 4).astype(np.float32) for i in range(3)}
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first product"),
            node("Tanh", ["a"], "b", "tanh"),
            node("MatMul", ["b", "w1"], "c", "second product"),
            node("Sigmoid", ["c"], "s", "gate"),
            node("Mul", ["c", "s"], "d", "swish"),
            node("MatMul", ["d", "w2"], "e", "third product"),
            node("Relu", ["e"], "y", "relu"),
        ],
        {"x": ("float32", (4, 16))},
        {"y": ("float32", (4, 16))},
        weights,
    )


def embedding(rows: int) -> onnx.ModelProto:
    """Looks token ids up in a table of `rows` rows, and masks the result."""
    table = np.random.default_rng(1).standard_normal((rows, 8)).astype(np.float32)
    return model(
        [
            node("Unsqueeze", ["ids", "last"], "column", "unsqueeze"),
            node("Squeeze", ["column", "last"], "row", "squeeze"),
            node("Gather", ["table", "row"], "rows", "lookup"),
            node("Cast", ["mask"], "scale", "cast", to=onnx.TensorProto.FLOAT),
            node("Mul", ["rows", "scale"], "y", "masked"),
        ],
        {"ids": ("int64", (1, 32)), "mask": ("int64", (1, 32, 1))},
        {"y": ("float32", (1, 32, 8))},
        {"table": table, "last": np.array([-1])},
    )

"""Weights in Constant nodes, as some exporters write them, are weights like all others."""

from __future__ import annotations

import numpy as np
import onnxruntime
from models import model, tensor
from onnx import helper, numpy_helper
from tilewright import frontends
from tilewright.frontends.linear_layers import linear_layers

WEIGHTS = np.random.default_rng(0).standard_normal((4, 3)).astype("f4")


def constant(name: str, values: np.ndarray) -> object:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(values, "inside"))


def test_they_become_initializers() -> None:
    nodes = [
        constant("w", WEIGHTS),
        constant("shape", np.array([1, 4], "i8")),
        constant("given", WEIGHTS[0]),
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("MatMul", ["r", "w"], ["y"], "dense"),
    ]
    proto = model(nodes, [tensor("x", [4])], [tensor("y", [1, 3]), tensor("given", [3])])
    before = proto.SerializeToString()
    opened = frontends.open(proto)

    assert proto.SerializeToString() == before  # the caller's model is left alone
    assert [each.name for each in opened.proto.graph.initializer] == ["w"]
    # Integers, and what the model gives, stay nodes.
    assert [each.op_type for each in opened.proto.graph.node] == ["Constant", "Constant", "Reshape", "MatMul"]
    assert [each.weights for each in linear_layers(opened)] == ["w"]
    session = onnxruntime.InferenceSession(opened.for_engine(), providers=["CPUExecutionProvider"])
    x = np.arange(4, dtype="f4")
    np.testing.assert_allclose(session.run(["y"], {"x": x})[0], x[None] @ WEIGHTS, rtol=1e-6)

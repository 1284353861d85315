"""Operators of ai.onnx.ml, compared with ONNX Runtime."""

from __future__ import annotations

import numpy as np
from execution import execute
from models import model, tensor
from onnx import TensorProto, helper
from onnx_runtime import reference_outputs


def test_they_agree_with_onnx_runtime() -> None:
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    x[2] = 0.0
    nodes = [
        helper.make_node(
            "Scaler", ["x"], ["a"], offset=[0.5, 1, 2, 3], scale=[2.0, 1.0, 0.5, 3.0], domain="ai.onnx.ml"
        ),
        helper.make_node("Binarizer", ["x"], ["b"], threshold=0.25, domain="ai.onnx.ml"),
        helper.make_node("ArrayFeatureExtractor", ["x", "at"], ["c"], domain="ai.onnx.ml"),
        helper.make_node(
            "LinearRegressor",
            ["x"],
            ["d"],
            coefficients=[float(each) for each in range(12)],
            intercepts=[0.5, 1.0, 1.5],
            targets=3,
            domain="ai.onnx.ml",
        ),
        *(
            helper.make_node("Normalizer", ["x"], [f"n{norm}"], norm=norm, domain="ai.onnx.ml")
            for norm in ("MAX", "L1", "L2")
        ),
    ]
    outputs = [tensor(node.output[0], None, TensorProto.FLOAT) for node in nodes]
    proto = model(nodes, [tensor("x", x.shape)], outputs, {"at": np.asarray([3, 0])}, domains=["ai.onnx.ml"])

    for result, reference in zip(execute(proto, {"x": x}), reference_outputs(proto, {"x": x}), strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-6)
        assert result.shape == reference.shape

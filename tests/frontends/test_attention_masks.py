"""Attention where a mask leaves a query nothing to look at: the operator, and written out, as in ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from execution import execute
from onnx import helper, numpy_helper
from operator_cases import Array, Case, check

_RNG = np.random.default_rng(0)
_Q, _K, _V = (_RNG.standard_normal((1, 2, tokens, 8)).astype(np.float32) for tokens in (5, 9, 9))


def _mask() -> Array:
    """Which keys each query sees: the first none, the last all."""
    mask = _RNG.random((5, 9)) < 0.6
    mask[0], mask[-1] = False, True
    return mask


def test_the_operator() -> None:
    inputs = {"Q": _Q, "K": _K, "V": _V}
    mask = _mask()
    check(
        {
            "no mask": Case("Attention", inputs),
            "causal": Case("Attention", inputs, {}, {"is_causal": 1}),
            "truth values": Case("Attention", {**inputs, "mask": mask}),
            "added": Case("Attention", {**inputs, "mask": np.where(mask, 0, -np.inf).astype(np.float32)}),
            "both": Case("Attention", {**inputs, "mask": mask}, {}, {"is_causal": 1, "softcap": 2.0}),
        },
        opset=23,
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("fill", [-np.inf, -3.4028235e38, -1e4], ids=str)
def test_written_out(fill: float, guarded: bool) -> None:
    """softmax of a row that is -inf throughout is NaN, which a guard replaces by 0; a finite mask is no mask there."""
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["products"]),
        helper.make_node("Where", ["mask", "zero", "fill"], ["bias"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("IsNaN", ["weights"], ["nan"]),
        helper.make_node("Where", ["nan", "zero", "weights"], ["safe"]),
        helper.make_node("MatMul", ["safe" if guarded else "weights", "v"], ["y"]),
    ]
    feeds: dict[str, Any] = {"q": _Q, "k": _K, "v": _V, "mask": _mask()[None, None]}
    graph = helper.make_graph(
        nodes,
        "attention",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for name, value in feeds.items()
        ],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.float32(value), name) for name, value in (("zero", 0), ("fill", fill))],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, feeds)[0]
    assert np.isnan(expected).any() == (fill == -np.inf and not guarded)
    np.testing.assert_allclose(execute(proto, feeds)[0], expected, rtol=1e-4, atol=1e-5, equal_nan=True)

"""Derivatives of operators, against what a small step in a random direction changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.compression.backward import ROWS
from tilewright.compiler.compression.gradients import tape_of

# Operator, shapes of its inputs, attributes; constants stand for themselves.
CASES: list[tuple[str, list[Any], dict[str, Any]]] = [
    ("Add", [(2, 3, 4), (3, 1)], {}),
    ("Sum", [(2, 3), (2, 3), (3,)], {}),
    ("Sub", [(4,), (2, 3, 4)], {}),
    ("Mul", [(2, 3, 4), (1, 4)], {}),
    ("Div", [(2, 3), (2, 1)], {}),
    ("Pow", [(2, 3), np.array(3.0)], {}),
    ("MatMul", [(2, 1, 3, 4), (5, 4, 2)], {}),
    ("MatMul", [(4,), (5, 4, 2)], {}),
    ("MatMul", [(2, 3, 4), (4,)], {}),
    ("Gemm", [(3, 4), (4, 5), (5,)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", [(4, 3), (5, 4)], {"transA": 1, "transB": 1}),
    ("Conv", [(2, 3, 7, 6), (4, 3, 3, 2), (4,)], {"strides": [2, 1], "pads": [1, 0, 2, 1]}),
    ("Conv", [(2, 4, 8), (6, 2, 3)], {"group": 2, "dilations": [2]}),
    ("Conv", [(1, 4, 5, 5), (4, 1, 3, 3)], {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ("BatchNormalization", [(2, 3, 4), (3,), (3,), np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 0.5])], {}),
    ("LayerNormalization", [(2, 3, 4), (4,), (4,)], {"axis": -1}),
    ("LayerNormalization", [(2, 3, 4), (3, 4)], {"axis": 1}),
    ("Softmax", [(2, 3, 4)], {"axis": 1}),
    ("MaxPool", [(1, 2, 7, 6)], {"kernel_shape": [3, 2], "strides": [2, 2], "pads": [1, 0, 1, 0]}),
    ("AveragePool", [(1, 2, 6, 6)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [(1, 2, 6)], {"kernel_shape": [3], "pads": [1, 1], "count_include_pad": 1}),
    ("GlobalAveragePool", [(2, 3, 4, 5)], {}),
    ("ReduceMean", [(2, 3, 4), np.array([1], np.int64)], {"keepdims": 0}),
    ("ReduceMean", [(2, 3, 4)], {}),
    ("Concat", [(2, 3), (2, 4)], {"axis": 1}),
    ("Split", [(2, 6)], {"axis": 1, "num_outputs": 2}),
    ("Transpose", [(2, 3, 4)], {"perm": [1, 2, 0]}),
    ("Transpose", [(2, 3, 4)], {}),
    ("Reshape", [(2, 6), np.array([3, -1], np.int64)], {}),
    ("Flatten", [(2, 3, 4)], {}),
    ("Squeeze", [(2, 1, 3), np.array([1], np.int64)], {}),
    ("Unsqueeze", [(2, 3), np.array([0], np.int64)], {}),
    ("Clip", [(3, 4), np.array(-0.3), np.array(0.4)], {}),
    ("LeakyRelu", [(3, 4)], {"alpha": 0.2}),
    ("HardSigmoid", [(3, 4)], {"alpha": 0.5}),
    ("Gelu", [(3, 4)], {"approximate": "tanh"}),
    *((name, [(3, 4)], {}) for name in ("Relu", "Sigmoid", "Tanh", "HardSwish", "Erf", "Gelu", "Exp", "Neg")),
    ("Sqrt", [(3, 4)], {}),
    ("Identity", [(3, 4)], {}),
]


def test_every_row_has_a_case() -> None:
    assert {operator for operator, _, _ in CASES} == set(ROWS)


@pytest.mark.parametrize(("operator", "inputs", "attributes"), CASES)
def test_gradients_are_slopes(operator: str, inputs: list[Any], attributes: dict[str, Any]) -> None:
    random = np.random.default_rng(5)
    names = [f"x{number}" for number in range(len(inputs))]
    fixed = {name: each for name, each in zip(names, inputs, strict=True) if isinstance(each, np.ndarray)}
    given = {name: random.standard_normal(each) for name, each in zip(names, inputs, strict=True) if name not in fixed}
    if operator in ("Sqrt", "Pow", "Div"):
        given = {name: 0.5 + np.abs(each) for name, each in given.items()}
    outputs = ["y", "z"] if operator == "Split" else ["y"]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(operator, names, outputs, **attributes)],
        "one",
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, each.shape) for name, each in given.items()],
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, None) for name in outputs],
        [onnx.numpy_helper.from_array(each, name) for name, each in fixed.items()],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    evaluator = ReferenceEvaluator(proto)

    def computed(values: dict[str, Any]) -> Any:
        return dict(zip(outputs, evaluator.run(None, values), strict=True))

    made = computed(given)
    weights = {name: random.standard_normal(each.shape) for name, each in made.items()}
    moves = {name: random.standard_normal(each.shape) for name, each in given.items()}
    # The reference has these in single precision.
    step, tolerance = (1e-2, 1e-3) if operator in ("Erf", "Gelu") else (1e-6, 1e-5)
    ahead, behind = (
        sum((weights[name] * each).sum() for name, each in computed(moved).items())
        for moved in ({name: each + sign * step * moves[name] for name, each in given.items()} for sign in (1, -1))
    )

    tape = tape_of(frontends.OpenedModel(proto, "one", "one"), list(given), outputs)
    found = tape.back({**given, **made}, weights)

    assert {name: each.shape for name, each in found.items() if name in given} == {
        name: each.shape for name, each in given.items()
    }
    slope = sum((found[name] * moves[name]).sum() for name in given)
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=tolerance, abs=tolerance / 10)


def test_gradients_end_where_there_is_no_row() -> None:
    """And take all ways from a tensor to the outputs."""
    opened = frontends.open(
        model(
            [
                node("Mul", ["x", "w"], "a", "a"),
                node("Round", ["a"], "b", "b"),
                node("Mul", ["b", "v"], "c", "c"),
                node("Add", ["c", "v"], "y", "y"),
            ],
            {"x": ("float32", (3,))},
            {"y": ("float32", (3,))},
            {"w": np.ones(3, np.float32), "v": np.ones(3, np.float32)},
        )
    )

    tape = tape_of(opened, ["w", "v"], ["y"])
    values = {"b": np.arange(3, dtype=np.float32), "v": np.ones(3, np.float32)}
    found = tape.back({**values, "c": values["b"], "y": values["b"] + 1}, {"y": np.ones(3, np.float32)})

    assert "w" not in tape.moved and "a" not in tape.tensors
    np.testing.assert_array_equal(found["v"], values["b"] + 1)

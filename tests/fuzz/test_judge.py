"""The judge lets pass what rounding can do, and nothing else; the minimiser keeps what fails."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from generate import Sample, generate
from judge import compare, in_float64, values_of
from minimise import describe, minimise
from onnx import TensorProto, helper, numpy_helper
from reference import Session


def _sample(nodes: list[Any], x: Any, **constants: Any) -> Sample:
    x = np.asarray(x, np.float32)
    graph = helper.make_graph(
        nodes,
        "judged",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.UNDEFINED, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    graph.output[0].ClearField("type")
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Sample(model, {"x": x}, frozenset({"x", *(name for node in nodes for name in node.output)}))


def _verdict(sample: Sample, change: Any) -> str:
    expected = Session(sample.model).run(sample.inputs)[0]
    return compare(sample, {"y": np.asarray(change(expected)).astype(expected.dtype)}).kind


EXP = [helper.make_node("Exp", ["x"], ["y"])]
FLOOR = [helper.make_node("Mul", ["x", "x"], ["a"]), helper.make_node("Floor", ["a"], ["y"])]
ARGMAX = [helper.make_node("Mul", ["x", "x"], ["a"]), helper.make_node("ArgMax", ["a"], ["y"], keepdims=0)]


def test_last_digits_may_differ_and_no_more() -> None:
    sample = _sample(EXP, [0.5, 1.0, 2.0])
    assert _verdict(sample, lambda y: y) == "right"
    assert _verdict(sample, lambda y: y * np.float32(1 + 1e-6)) == "right"
    assert _verdict(sample, lambda y: y * np.float32(1 + 1e-4)) == "wrong"
    assert _verdict(sample, lambda y: y * [1, 1, np.nan]) == "wrong"


def test_what_exp_makes_of_a_last_digit_may_differ() -> None:
    assert _verdict(_sample(EXP, [80.0]), lambda y: y * np.float32(1 + 2e-4)) == "right"
    assert _verdict(_sample(EXP, [0.8]), lambda y: y * np.float32(1 + 2e-4)) == "wrong"


def test_a_step_may_be_missed_where_it_is_and_nowhere_else() -> None:
    assert _verdict(_sample(FLOOR, [2.0]), lambda y: y - 1) == "right"
    assert _verdict(_sample(FLOOR, [2.1]), lambda y: y - 1) == "wrong"


def test_an_index_may_differ_among_equals_alone() -> None:
    assert _verdict(_sample(ARGMAX, [1.0, 3.0, 3.0]), lambda y: y + 1) == "right"
    assert _verdict(_sample(ARGMAX, [1.0, 3.1, 3.0]), lambda y: y + 1) == "wrong"


def test_results_of_float16_are_rounded_before_they_are_compared() -> None:
    x = np.linspace(-3, 3, 64, dtype=np.float16)
    rounded = np.cos(x.astype(np.float64)).astype(np.float16)
    graph = helper.make_graph(
        [helper.make_node("Cos", ["x"], ["a"]), helper.make_node("Equal", ["a", "b"], ["y"])],
        "judged",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT16, x.shape) for name in ("x", "b")],
        [helper.make_tensor_value_info("y", TensorProto.BOOL, x.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    sample = Sample(model, {"x": x, "b": rounded}, frozenset({"x", "a", "b", "y"}))
    assert not Session(model).run(sample.inputs)[0].all()  # ONNX Runtime compares in float32
    assert compare(sample, {"y": np.ones(64, bool)}).kind == "right"
    elsewhere = Sample(model, {"x": x, "b": rounded + np.float16(0.5)}, sample.noisy)
    assert compare(elsewhere, {"y": np.ones(64, bool)}).kind == "wrong"


def test_where_onnx_runtime_is_coarse_the_true_value_is_met() -> None:
    sample = _sample([helper.make_node("Sigmoid", ["x"], ["a"]), helper.make_node("Sqrt", ["a"], ["y"])], [-21.8])
    true = np.sqrt(1 / (1 + np.exp(np.float64(np.float32(21.8)))))
    assert Session(sample.model).run(sample.inputs)[0] == 0  # its sigmoid is 0 from -18 on
    assert _verdict(sample, lambda y: y + true) == "right"
    assert _verdict(sample, lambda y: y + true * (1 + 1e-4)) == "wrong"


def test_float64_has_the_shapes_that_onnx_runtime_has() -> None:
    x = np.arange(16.0).reshape(1, 2, 2, 2, 2)  # of which onnx's reference reduces the last two axes alone
    pool = helper.make_node("GlobalMaxPool", ["x"], ["a"])
    sample = _sample([pool, helper.make_node("Squeeze", ["a", "axes"], ["y"])], x, axes=np.array([0, 2, 3, 4]))
    truth = in_float64(sample)["y"]
    assert truth.dtype == np.float64
    assert truth.tolist() == [7, 15]


def test_shape_and_dtype_are_part_of_a_result() -> None:
    sample = _sample(EXP, [[0.5, 1.0]])
    y = Session(sample.model).run(sample.inputs)[0]
    assert compare(sample, {"y": y[0]}).kind == "wrong"
    assert compare(sample, {"y": y.astype(np.float64)}).kind == "wrong"


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_errors_of_a_few_parts_in_a_thousand_are_found_in_random_graphs(share: float) -> None:
    found = 0
    for seed in range(20):
        sample = generate(seed)
        names = [value.name for value in sample.model.graph.output]
        results = dict(zip(names, Session(sample.model).run(sample.inputs), strict=True))
        rng = np.random.default_rng(seed)
        for name, array in results.items():
            hit = rng.random(array.shape) < share
            hit.ravel()[:1] = True
            moved = ~array if array.dtype == bool else array + np.maximum(np.abs(array) * 0.003, 0.003) * 2
            results[name] = np.where(hit, moved if array.dtype.kind in "bf" else array + 1, array).astype(array.dtype)
        found += compare(sample, results).kind == "wrong"
    assert found >= 18  # float16 has no more digits than that


def test_a_failing_graph_is_cut_down_to_what_fails() -> None:
    seed = next(s for s in range(500) if _has(generate(s), "Erf") and len(generate(s).model.graph.node) > 7)
    smallest = minimise(generate(seed), lambda sample: _has(sample, "Erf"))
    assert [node.op_type for node in smallest.model.graph.node] == ["Erf"]
    assert "Erf(" in describe(smallest)
    assert values_of(smallest)


def _has(sample: Sample, op_type: str) -> bool:
    return any(node.op_type == op_type for node in sample.model.graph.node)

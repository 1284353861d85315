"""Outputs whose size depends on data: one library, every size; and what cannot be done with them is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tilewright
from models import model, tensor
from onnx import TensorProto, helper
from onnx_runtime import reference_outputs
from tilewright.errors import ModelError, UnsupportedError

Array = np.ndarray[Any, Any]


def _nodes() -> list[Any]:
    return [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Compress", ["x", "mask"], ["columns"], axis=1),
        helper.make_node("Cast", ["columns"], ["whole"], to=TensorProto.INT64),
        helper.make_node("Unique", ["x"], ["values", "first", "which", "counts"], axis=0),
    ]


def test_one_library_for_every_size() -> None:
    outputs = [("places", 7), ("columns", 1), ("whole", 7), ("values", 1), ("first", 7), ("which", 7), ("counts", 7)]
    proto = model(
        _nodes(),
        [tensor("x", [5, 4]), tensor("mask", [4], TensorProto.BOOL)],
        [tensor(name, None, dtype) for name, dtype in outputs],
    )
    compiled = tilewright.compile(proto, threads=1)
    rng = np.random.default_rng(1)

    for kept in (0.0, 0.3, 0.8, 1.0):
        x = np.where(rng.random((5, 4)) < kept, rng.integers(1, 3, (5, 4)), 0).astype(np.float32)
        given = {"x": x, "mask": rng.random(4) < kept}
        for result, reference in zip(compiled.run(given).values(), reference_outputs(proto, given), strict=True):
            np.testing.assert_array_equal(result, reference)
            assert result.shape == reference.shape
    assert [spec.name for spec in compiled.outputs] == [name for name, _ in outputs]
    assert [spec.extents for spec in compiled.outputs][:2] == ["places.extents", "columns.extents"]


@pytest.mark.parametrize("shape", [(1,), (2,), (40,), (400,), (90, 3), (3, 90)], ids=str)
def test_many_different_elements(shape: tuple[int, ...]) -> None:
    """By value and by where they stand first; few of them are sorted by ranks, many by a heap."""
    nodes = []
    for order in (0, 1):
        for axis in range(-1, len(shape)):
            outputs = [f"{name}{order}{axis}" for name in ("values", "first", "which", "counts")]
            along = {} if axis < 0 else {"axis": axis}
            nodes.append(helper.make_node("Unique", ["x"], outputs, sorted=order, **along))
    names = [name for node in nodes for name in node.output]
    results = [tensor(name, None, TensorProto.FLOAT if "values" in name else TensorProto.INT64) for name in names]
    proto = model(nodes, [tensor("x", shape)], results)
    compiled = tilewright.compile(proto, threads=1)
    rng = np.random.default_rng(3)

    for different in (1, 2, 200):
        given = {"x": rng.integers(0, different, shape).astype(np.float32) - 1}
        for name, reference in zip(names, reference_outputs(proto, given), strict=True):
            np.testing.assert_array_equal(compiled.run(given)[name], reference, name)


@pytest.mark.parametrize("many", [30, 300])
def test_boxes_agree_with_onnx_runtime(many: int) -> None:
    rng = np.random.default_rng(2)
    corners = rng.random((2, many, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + 0.05 + rng.random((2, many, 2)).astype(np.float32) / 2], 2)
    scores = (rng.integers(0, 100, (2, 3, many)) / 100).astype(np.float32)  # some are equal
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "overlap", "score"], ["rows"])
    constants = {"overlap": np.float32(0.4).reshape(1), "score": np.float32(0.3).reshape(1)}
    proto = model(
        [node],
        [tensor("boxes", boxes.shape), tensor("scores", scores.shape), tensor("most", [1], TensorProto.INT64)],
        [tensor("rows", None, TensorProto.INT64)],
        constants,
    )
    compiled = tilewright.compile(proto, threads=1)

    for most in (0, 2, 100):
        given = {"boxes": boxes, "scores": scores, "most": np.asarray([most])}
        np.testing.assert_array_equal(compiled.run(given)["rows"], reference_outputs(proto, given)[0])


def test_what_needs_their_size_is_refused() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["p"]), helper.make_node("Transpose", ["p"], ["y"])]

    with pytest.raises(UnsupportedError, match="depends on data"):
        tilewright.compile(model(nodes, [tensor("x", [3, 4])], [tensor("y", None, TensorProto.INT64)]))


def test_one_element_at_a_time() -> None:
    """Operators of one element each, of single elements, and of what has as many elements for sure."""
    nodes = [
        helper.make_node("Compress", ["x", "mask"], ["kept"], axis=1),
        helper.make_node("Mul", ["kept", "half"], ["small"]),
        helper.make_node("Sigmoid", ["small"], ["gate"]),
        helper.make_node("Mul", ["kept", "gate"], ["swish"]),
        helper.make_node("Greater", ["given", "swish"], ["above"]),
        helper.make_node("Where", ["above", "half", "swish"], ["y"]),
    ]
    inputs = [tensor("x", [3, 4]), tensor("mask", [4], TensorProto.BOOL), tensor("given", [1])]
    proto = model(nodes, inputs, [tensor("y", None)], {"half": np.float32(0.5)})
    compiled = tilewright.compile(proto, threads=1)
    rng = np.random.default_rng(5)

    for kept in (0.0, 0.5, 1.0):
        given = {"x": rng.standard_normal((3, 4)).astype(np.float32), "mask": rng.random(4) < kept}
        given["given"] = np.float32([0.1])
        (reference,) = reference_outputs(proto, given)
        result = compiled.run(given)["y"]
        assert result.shape == reference.shape
        np.testing.assert_allclose(result, reference, atol=1e-6)


def test_what_may_have_another_size_is_refused() -> None:
    nodes = [
        helper.make_node("Compress", ["x", "mask"], ["kept"], axis=1),
        helper.make_node("Add", ["kept", "column"], ["y"]),
    ]
    inputs = [tensor("x", [3, 4]), tensor("mask", [4], TensorProto.BOOL), tensor("column", [3, 1])]

    with pytest.raises(UnsupportedError, match="another input is neither one element"):
        tilewright.compile(model(nodes, inputs, [tensor("y", None)]))


def test_boxes_without_a_limit_of_scores() -> None:
    """What masks a box is no reason to leave it out."""
    boxes = np.array([[[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5]]], np.float32)
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores", "most"], ["rows"])
    inputs = [tensor("boxes", boxes.shape), tensor("scores", [1, 1, 3])]
    proto = model([node], inputs, [tensor("rows", None, TensorProto.INT64)], {"most": np.array([3])})
    given = {"boxes": boxes, "scores": np.array([[[-np.inf, 0.5, -1]]], np.float32)}

    rows = tilewright.compile(proto, threads=1).run(given)["rows"]

    assert rows.tolist() == [[0, 0, 1], [0, 0, 2], [0, 0, 0]] == reference_outputs(proto, given)[0].tolist()


def test_boxes_and_scores_that_do_not_fit() -> None:
    node = helper.make_node("NonMaxSuppression", ["boxes", "scores"], ["rows"], name="it")
    for boxes, scores in (([1, 3, 4], [1, 1, 2]), ([1, 3, 5], [1, 1, 3]), ([2, 3, 4], [1, 1, 3])):
        inputs = [tensor("boxes", boxes), tensor("scores", scores)]
        with pytest.raises(ModelError, match=r"are not \[n, boxes, 4\]"):
            tilewright.compile(model([node], inputs, [tensor("rows", None, TensorProto.INT64)]))


def test_the_name_of_the_size_is_free() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y.extents"])]
    outputs = [tensor("y", None, TensorProto.INT64), tensor("y.extents", [3])]
    compiled = tilewright.compile(model(nodes, [tensor("x", [3])], outputs), threads=1)

    results = compiled.run({"x": np.float32([0, -1, 2])})

    assert results["y"].tolist() == [[1, 2]] and results["y.extents"].tolist() == [0, 0, 2]

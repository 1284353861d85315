"""Older forms of operators, which ONNX's own tests at the newest opset do not reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from execution import execute
from models import model, tensor
from onnx import helper
from onnx_runtime import reference_outputs


def _run(
    op_type: str, opset: int, x: np.ndarray[Any, Any], weights: dict[str, Any] | None = None, **attributes: Any
) -> np.ndarray[Any, Any]:
    arrays = {name: np.asarray(value) for name, value in (weights or {}).items()}
    dtype = helper.np_dtype_to_tensor_dtype(x.dtype)
    node = helper.make_node(op_type, ["x", *arrays], ["y"], **attributes)
    proto = model([node], [tensor("x", x.shape, dtype)], [tensor("y", None, dtype)], arrays, opset=opset)
    return execute(proto, {"x": x})[0]


X = np.arange(24, dtype=np.float32).reshape(2, 3, 4) / 7 - 1.5


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("axis", [1, 2])
def test_softmax_flattens_before_opset_13(opset: int, axis: int) -> None:
    flat = X if opset >= 13 else X.reshape(int(np.prod(X.shape[:axis])), -1)
    along = axis if opset >= 13 else 1
    weights = np.exp(flat)
    expected = (weights / weights.sum(axis=along, keepdims=True)).reshape(X.shape)
    np.testing.assert_allclose(_run("Softmax", opset, X, axis=axis), expected, rtol=1e-5)


def test_clip_by_attributes() -> None:
    np.testing.assert_array_equal(_run("Clip", 6, X, min=-1.0, max=0.5), np.clip(X, -1.0, 0.5).astype(np.float32))


def test_slice_by_attributes() -> None:
    np.testing.assert_array_equal(_run("Slice", 9, X, axes=[2, 0], starts=[1, -1], ends=[1000, 2]), X[-1:2, :, 1:])


def test_squeeze_and_unsqueeze_by_attributes() -> None:
    np.testing.assert_array_equal(_run("Unsqueeze", 11, X, axes=[0, 4]), X[None, ..., None])
    np.testing.assert_array_equal(_run("Squeeze", 11, X[:1], axes=[0]), X[0])


def test_broadcast_by_attributes() -> None:
    bias = np.array([1, 2, 3], np.float32)
    np.testing.assert_array_equal(_run("Add", 6, X, {"b": bias}, broadcast=1, axis=1), X + bias[:, None])


def test_pad_by_attributes() -> None:
    result = _run("Pad", 10, X, pads=[0, 1, 0, 0, 0, 2], mode="constant", value=3.0)
    np.testing.assert_array_equal(result, np.pad(X, [(0, 0), (1, 0), (0, 2)], constant_values=3.0))


def test_reductions_by_attributes() -> None:
    np.testing.assert_allclose(_run("ReduceMean", 13, X, axes=[-1], keepdims=0), X.mean(-1), rtol=1e-5)
    expected = X.sum((0, 2), keepdims=True)
    np.testing.assert_allclose(_run("ReduceSum", 11, X, axes=[0, 2]), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("opset", [7, 9])
def test_upsample(opset: int) -> None:
    image = X[None]
    scales = np.array([1, 1, 2, 3], np.float32)
    given: dict[str, Any] = {"scales": scales.tolist()} if opset < 9 else {}
    result = _run("Upsample", opset, image, {} if opset < 9 else {"s": scales}, mode="nearest", **given)
    np.testing.assert_array_equal(result, image.repeat(2, 2).repeat(3, 3))


def test_reshape_by_input_copies_zero() -> None:
    np.testing.assert_array_equal(_run("Reshape", 13, X, {"s": [0, -1]}), X.reshape(2, 12))


@pytest.mark.parametrize("step", [-1, -2, -3])
def test_slice_backwards(step: int) -> None:
    weights = {"s": [-1], "e": [-1000], "a": [2], "t": [step]}
    np.testing.assert_array_equal(_run("Slice", 13, X, weights), X[:, :, ::step])


def test_slices_that_begin_and_end_anywhere() -> None:
    """Far outside of the axis too, where ONNX's text and ONNX Runtime move starts and ends into it."""
    sliced = {
        f"{extent} {start} {end} {step}": (f"x{extent}", start, end, step)
        for extent in (1, 3)
        for start in (-9, -4, -3, -1, 0, 2, 3, 9)
        for end in (-9, -4, -3, 0, 1, 3, 9)
        for step in (-(2**62), -2, -1, 1, 2, 2**63 - 1)
    }
    weights = {str(number): np.array([number]) for number in (*range(-9, 10), -(2**62), 2**63 - 1)}
    nodes = [
        helper.make_node("Slice", [name, *(str(each) for each in (start, end, 0, step))], [label])
        for label, (name, start, end, step) in sliced.items()
    ]
    given = {f"x{extent}": np.arange(extent, dtype=np.float32) + 1 for extent in (1, 3)}
    proto = model(
        nodes, [tensor(name, x.shape) for name, x in given.items()], [tensor(each, None) for each in sliced], weights
    )

    for label, result, reference in zip(sliced, execute(proto, given), reference_outputs(proto, given), strict=True):
        np.testing.assert_array_equal(result, reference, label)


def test_gemm_adds_a_constant_number_times_beta() -> None:
    b = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
    result = _run("Gemm", 13, X[0], {"b": b, "c": np.float32(2.0)}, beta=0.25)
    np.testing.assert_allclose(result, X[0] @ b + 0.5, rtol=1e-5, atol=1e-6)

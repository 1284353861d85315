"""Sparse initializers and constants become dense; damaged ones are refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from execution import execute
from models import model, tensor
from onnx import helper, numpy_helper
from tilewright import frontends
from tilewright.errors import ModelError, UnsupportedError


def _sparse(indices: list[object], dims: tuple[int, ...] = (2, 4), values: int = 3) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(
        dims=dims,
        values=numpy_helper.from_array(np.arange(1, values + 1, dtype=np.float32), "w"),
        indices=numpy_helper.from_array(np.asarray(indices, np.int64), "at"),
    )


def _with_sparse(sparse: onnx.SparseTensorProto, as_constant: bool) -> onnx.ModelProto:
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    if as_constant:
        nodes.insert(0, helper.make_node("Constant", [], ["w"], sparse_value=sparse))
    proto = model(nodes, [tensor("x", [2, 4])], [tensor("y", [2, 4])])
    if not as_constant:
        proto.graph.sparse_initializer.append(sparse)
    return proto


@pytest.mark.parametrize("as_constant", [False, True])
@pytest.mark.parametrize("indices", [[0, 5, 7], [[0, 0], [1, 1], [1, 3]]])
def test_sparse_tensors(indices: list[object], as_constant: bool) -> None:
    proto = _with_sparse(_sparse(indices), as_constant)
    before = proto.SerializeToString()
    result = execute(proto, {"x": np.zeros((2, 4), np.float32)})[0]
    assert result.tolist() == [[1, 0, 0, 0], [0, 2, 0, 3]]
    assert proto.SerializeToString() == before  # the caller's model is left alone


@pytest.mark.parametrize("as_constant", [False, True])
@pytest.mark.parametrize(
    ("indices", "dims"),
    [
        ([0, 5, 8], (2, 4)),
        ([0, 5, -1], (2, 4)),
        ([0, 5, 5], (2, 4)),
        ([0, 5], (2, 4)),
        ([[0, 0], [1, 1], [2, 3]], (2, 4)),
        ([[0], [1], [2]], (2, 4)),
        ([0, 5, 7], (-2, 4)),
        ([0, 5, 7], (1 << 40, 1 << 40)),
    ],
)
def test_sparse_tensors_that_are_damaged(indices: list[object], dims: tuple[int, ...], as_constant: bool) -> None:
    with pytest.raises((ModelError, UnsupportedError), match="sparse") as caught:
        frontends.open(_with_sparse(_sparse(indices, dims), as_constant))
    assert "ModelProto" in str(caught.value.where)

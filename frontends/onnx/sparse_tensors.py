"""Sparse tensors of a model file as dense ones: what follows knows no others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ...errors import ModelError, UnsupportedError
from .limits import EVALUATED_ELEMENTS
from .proto_walk import every_graph, every_node


def with_dense_tensors(proto: onnx.ModelProto, folder: Path | None, where: str) -> onnx.ModelProto:
    """The model with a dense tensor for every sparse initializer and constant; the model itself if it has none.

    Args:
        proto: the model; its tensors were checked (`tensor_data.py`, `external_data.py`).
        folder: where its external data lies.

    Raises:
        ModelError: indices lie outside a tensor, or are not as many as the values.
        UnsupportedError: a dense tensor would be too large.
    """
    if not any(graph.sparse_initializer for graph in every_graph(proto)) and not any(
        attribute.HasField("sparse_tensor") for node in every_node(proto) for attribute in node.attribute
    ):
        return proto
    dense = onnx.ModelProto()
    dense.CopyFrom(proto)
    for graph in every_graph(dense):
        for sparse in graph.sparse_initializer:
            name = sparse.values.name
            array = _dense(sparse, folder, f"{where}: sparse initializer '{name}'")
            graph.initializer.append(numpy_helper.from_array(array, name))
        graph.ClearField("sparse_initializer")
    for node in every_node(dense):
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                at = f"{where}: attribute '{attribute.name}' of node '{node.name or node.op_type}' ({node.op_type})"
                attribute.t.CopyFrom(numpy_helper.from_array(_dense(attribute.sparse_tensor, folder, at)))
                attribute.ClearField("sparse_tensor")
                attribute.type = onnx.AttributeProto.TENSOR
                attribute.name = "value" if attribute.name == "sparse_value" else attribute.name
    return dense


def _dense(sparse: onnx.SparseTensorProto, folder: Path | None, at: str) -> np.ndarray[tuple[int, ...], np.dtype]:
    """Zeros but for the values; indices are [count] into the flat tensor or [count, rank]."""
    shape = tuple(sparse.dims)
    count = math.prod(shape)
    if any(extent < 0 for extent in shape):
        raise ModelError("the sparse tensor has a negative dimension", where=at)
    if count > EVALUATED_ELEMENTS:
        raise UnsupportedError(
            f"the sparse tensor has {count:,} elements; at most {EVALUATED_ELEMENTS:,} are supported, stored densely",
            where=at,
        )
    values, indices = (
        numpy_helper.to_array(part, base_dir=str(folder or "")) for part in (sparse.values, sparse.indices)
    )
    form = (values.size, len(shape)) if indices.ndim == 2 else (values.size,)
    if values.ndim != 1 or indices.shape != form or indices.dtype != np.int64:
        raise ModelError("the indices of the sparse tensor do not fit its values", where=at)
    bounds = np.asarray(shape if indices.ndim == 2 else (count,), np.int64)
    if ((indices < 0) | (indices >= bounds)).any():
        raise ModelError("an index of the sparse tensor lies outside it", where=at)
    places = np.ravel_multi_index(tuple(indices.T), shape) if indices.ndim == 2 and indices.size else indices.ravel()
    if len(np.unique(places)) != len(places):
        raise ModelError("an index of the sparse tensor occurs twice", where=at)
    dense = np.zeros(count, values.dtype)
    dense[places] = values
    return dense.reshape(shape)

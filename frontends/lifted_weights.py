"""Weights as inputs: one library of a model then computes with any values of them."""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from .opened import OpenedModel


def with_weights_as_inputs(opened: OpenedModel, names: Iterable[str]) -> OpenedModel:
    """The model with these initializers as inputs behind its own, of their shapes and dtypes."""
    proto = onnx.ModelProto()
    proto.CopyFrom(opened.proto)
    lifted = dict.fromkeys(names)
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in lifted]
    given = {tensor.name: tensor for tensor in proto.graph.initializer}
    declared = {value.name for value in proto.graph.input}
    for name in lifted:
        if name not in declared:
            kind, dims = given[name].data_type, list(given[name].dims)
            proto.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, dims))
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    return opened.changed(proto)

"""Weights that a model keeps in Constant nodes, as some exporters write them, become initializers like all others."""

from __future__ import annotations

import onnx

_FIRST_WITH_FREE_INITIALIZERS = 4  # IR version: before, every initializer is an input, too
DEFAULT_DOMAINS = ("", "ai.onnx")


def with_lifted_constants(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model with an initializer for every Constant node of floats; the model itself if it has none.

    What the model gives as an output stays a node, and so does what is inside of branches and loops.
    """
    graph = proto.graph
    taken = {each.name for each in (*graph.output, *graph.input, *graph.initializer)}
    lifted = [index for index, node in enumerate(graph.node) if _tensor(node) and node.output[0] not in taken]
    if not lifted or proto.ir_version < _FIRST_WITH_FREE_INITIALIZERS:
        return proto
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    for index in lifted:
        node = changed.graph.node[index]
        tensor = _tensor(node)
        assert tensor is not None
        changed.graph.initializer.append(tensor)
        changed.graph.initializer[-1].name = node.output[0]
    for index in reversed(lifted):
        del changed.graph.node[index]
    return changed


def _tensor(node: onnx.NodeProto) -> onnx.TensorProto | None:
    if node.op_type != "Constant" or node.domain not in DEFAULT_DOMAINS:
        return None
    return next(
        (
            each.t
            for each in node.attribute
            if each.name == "value" and each.HasField("t") and each.t.data_type == onnx.TensorProto.FLOAT
        ),
        None,
    )

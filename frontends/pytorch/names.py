"""Names nodes of an export after the module they come from: ``encoder.layer.0.attention.query/MatMul``."""

from __future__ import annotations

import ast
from collections.abc import Mapping

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"  # paths from the outside in, and at last the node of torch.export's graph
_CLASSES = "pkg.torch.onnx.class_hierarchy"


def name_layers(model: onnx.ModelProto) -> None:
    """Renames the nodes of the graph that ``torch.onnx.export(dynamo=True)`` wrote, in place; names stay unique."""
    taken: dict[str, int] = {}
    weights = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        wanted = _layer(node, metadata, weights) or node.name.strip("/") or node.op_type
        count = taken[wanted] = taken.get(wanted, 0) + 1
        node.name = wanted if count == 1 else f"{wanted}_{count}"


def _layer(node: onnx.NodeProto, metadata: Mapping[str, str], weights: set[str]) -> str:
    """The module's path and the operator; the name in the exported graph for what no module inside computes."""
    scopes, classes = _texts(metadata.get(_SCOPES)), _texts(metadata.get(_CLASSES))
    if not scopes:
        return ""
    path = scopes[-2] if len(scopes) > 1 else ""
    if len(classes) > 1 and "BatchNorm" in classes[-2] and node.op_type != "BatchNormalization":
        # The exporter folds it into the convolution before it, whose weights say where that is.
        owners = [name.rpartition(".")[0] for name in node.input if name in weights and name.endswith(".weight")]
        path = owners[0] if owners else path
    return f"{path}/{node.op_type}" if path else scopes[-1]


def _texts(metadata: str | None) -> list[str]:
    """A list as the exporter writes it."""
    try:
        found = ast.literal_eval(metadata or "[]")
    except (ValueError, SyntaxError):
        return []
    return [str(each) for each in found] if isinstance(found, list | tuple) else []

"""By which names of bindings the tensors and layers of a model are known in Relax."""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from .node import node_name

# Operators whose output holds the elements of their first input, in some order.
MOVES = frozenset(("Identity", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"))


def tensor_carriers(graph: ir.Graph) -> dict[str, tuple[str, ...]]:
    """For each tensor the names of the bindings that hold its elements: of its node, and of those that only move it.

    A tensor of a node with several outputs, or with the name of another node, has none: they could be mistaken.
    """
    counts = Counter(node_name(node) for node in graph)
    found: dict[str, list[str]] = {str(value.name): [str(value.name)] for value in graph.inputs}
    sources: dict[str, str] = {}
    for node in graph:
        outputs = [value for value in node.outputs if value.name]
        name = node_name(node)
        if not outputs or counts[name] > 1 or (len(outputs) > 1 and node.op_type not in MOVES):
            continue
        output = str(outputs[0].name)
        found[output] = [name]
        moved = node.inputs[0] if node.op_type in MOVES and node.inputs else None
        if moved is not None and moved.name in found:
            sources[output] = str(moved.name)
            source: str | None = sources[output]
            while source is not None:
                found[source].append(name)
                source = sources.get(source)
    return {value: tuple(names) for value, names in found.items()}


def layer_names(graph: ir.Graph) -> dict[str, str]:
    """For each node, by its name or its first output where it has none, the name that its bindings have."""
    counts = Counter(node_name(node) for node in graph)
    return {
        node.name or next((str(value.name) for value in node.outputs if value.name), ""): node_name(node)
        for node in graph
        if counts[node_name(node)] == 1
    }


def moved_from(graph: ir.Graph) -> dict[str, str]:
    """For each tensor that only moves the elements of another that other one, as far up as it goes."""
    roots: dict[str, str] = {}
    for node in graph:
        if node.op_type in MOVES and node.inputs and node.inputs[0] is not None and node.outputs[0].name:
            source = str(node.inputs[0].name)
            roots[str(node.outputs[0].name)] = roots.get(source, source)
    return roots

"""Which nodes a graph's outputs depend on: the others need no conversion."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx_ir as ir


def live_nodes(nodes: Iterable[ir.Node], outputs: Sequence[ir.Value]) -> list[ir.Node]:
    """The nodes that `outputs` depend on, in order; whatever a nested graph reads is read by its node."""
    wanted = set(outputs)
    live = []
    for node in reversed(list(nodes)):
        if wanted.isdisjoint(node.outputs):
            continue
        live.append(node)
        readers = [node]
        while readers:
            reader = readers.pop()
            wanted.update(value for value in reader.inputs if value is not None)
            for attribute in reader.attributes.values():
                for graph in _graphs(attribute):
                    wanted.update(graph.outputs)
                    readers += graph
    return live[::-1]


def _graphs(attribute: ir.Attr) -> Sequence[ir.Graph]:
    if attribute.is_ref():
        return ()
    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return attribute.as_graphs() if attribute.type == ir.AttributeType.GRAPHS else ()

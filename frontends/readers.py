"""Who reads the values of a model's graph: nodes, graphs inside of them, and whoever runs the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx

from .onnx.carriers import MOVES
from .onnx.proto_walk import all_nodes


@dataclass(frozen=True)
class Readers:
    """Who reads what.

    Attributes:
        uses: how often a name is read; an output of the model is read once more.
        nodes: the nodes of the graph that read a name, in order. What a graph inside of a node reads, the node does.
    """

    uses: Mapping[str, int]
    nodes: Mapping[str, Sequence[onnx.NodeProto]]

    def only(self, name: str) -> onnx.NodeProto | None:
        """The node that reads a value, once, if nobody else does."""
        return self.nodes[name][0] if self.uses.get(name) == 1 and name in self.nodes else None


def readers_of(graph: onnx.GraphProto) -> Readers:
    """Who reads the values of a model's graph."""
    uses = Counter(value.name for value in graph.output)
    nodes: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        names = reads(node)
        uses.update(names)
        for name in dict.fromkeys(names):
            nodes.setdefault(name, []).append(node)
    return Readers(uses, nodes)


def reads(node: onnx.NodeProto) -> list[str]:
    """The names a node reads, those that the graphs inside it capture included."""
    names = list(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                names += [name for name in reads(inner) if name not in own]
                own.update(inner.output)
            names += [value.name for value in graph.output if value.name not in own]
    return names


def rename_reads(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Has a node, and the graphs inside it, read other values."""
    for each in all_nodes([node]):
        for index, name in enumerate(each.input):
            each.input[index] = names.get(name, name)


def is_move(node: onnx.NodeProto) -> bool:
    """Whether a node's first output holds the elements of its first input, in some order."""
    return node.op_type in MOVES and node.domain in ("", "ai.onnx")

"""Everything in a model file, wherever it is nested: graphs in attributes of nodes, bodies of functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx


def graphs_of(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs that are attributes of a node, not those nested in them."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and those nested in its nodes, at any depth."""
    graphs = [graph]
    while graphs:
        current = graphs.pop()
        yield current
        graphs += [each for node in current.node for each in graphs_of(node)]


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those nested in them, at any depth."""
    for node in nodes:
        yield node
        for graph in graphs_of(node):
            for each in all_graphs(graph):
                yield from each.node


def constants_of(graph: onnx.GraphProto) -> set[str]:
    """The values of a graph that are constants, and what nodes compute of those alone."""
    found = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        is_constant = node.op_type == "Constant" or (any(node.input) and not any(graphs_of(node)))
        if is_constant and found.issuperset(name for name in node.input if name):
            found.update(name for name in node.output if name)
    return found


def every_node(proto: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a model's graph and of its functions' bodies."""
    yield from all_nodes(proto.graph.node)
    for function in proto.functions:
        yield from all_nodes(function.node)


def every_graph(proto: onnx.ModelProto) -> Iterator[onnx.GraphProto]:
    """A model's graph and every graph nested in it and in its functions."""
    yield from all_graphs(proto.graph)
    for function in proto.functions:
        for node in function.node:
            for graph in graphs_of(node):
                yield from all_graphs(graph)


def every_tensor(proto: onnx.ModelProto) -> Iterator[tuple[onnx.TensorProto, str]]:
    """The tensors of a model: initializers and attributes; those that sparse ones consist of too.

    Yields:
        a tensor and what it is, for messages.
    """
    for graph in every_graph(proto):
        for tensor in graph.initializer:
            yield tensor, f"initializer '{tensor.name}'"
        for sparse in graph.sparse_initializer:
            yield sparse.values, f"sparse initializer '{sparse.values.name}'"
            yield sparse.indices, f"the indices of sparse initializer '{sparse.values.name}'"
    for node in every_node(proto):
        for attribute in node.attribute:
            what = f"attribute '{attribute.name}' of node '{node.name or next(iter(node.output), '')}' ({node.op_type})"
            if attribute.HasField("t"):
                yield attribute.t, what
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor.values, what
                yield attribute.sparse_tensor.indices, what
            for tensor in attribute.tensors:
                yield tensor, what
            for sparse in attribute.sparse_tensors:
                yield sparse.values, what
                yield sparse.indices, what

"""Names of a graph's outputs, as its framework has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import onnx

_ORIGINAL = "_orig"


def name_outputs(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Renames a graph's outputs in place; a name that another value has gets ``_out`` behind it."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.initializer)}
    taken -= {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    for value, name in zip(graph.output, names, strict=True):
        while name in taken:
            name += "_out"
        taken.add(name)
        renamed[value.name] = name
        value.name = name
    _rename(graph, renamed)


def restore_inputs(model: onnx.ModelProto) -> None:
    """Gives inputs that a model returns as they are their names back, in place: PyTorch calls them ``NAME_orig``."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.initializer, *graph.output)}
    renamed = {
        value.name: value.name.removesuffix(_ORIGINAL)
        for value in graph.input
        if value.name.endswith(_ORIGINAL) and value.name.removesuffix(_ORIGINAL) not in taken
    }
    for value in graph.input:
        value.name = renamed.get(value.name, value.name)
    _rename(graph, renamed)


def _rename(graph: onnx.GraphProto, renamed: Mapping[str, str]) -> None:
    """Renames values where they are read and written."""
    for value in graph.value_info:
        value.name = renamed.get(value.name, value.name)
    for node in _all_nodes(graph):
        for list_of_names in (node.input, node.output):
            for index, name in enumerate(list_of_names):
                if name in renamed:
                    list_of_names[index] = renamed[name]


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a graph and of the graphs inside it, which read its values too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _all_nodes(inner)

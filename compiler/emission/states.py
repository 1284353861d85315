"""States of a graph: what an output leaves for the next call stands where the input is that it replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..library.plan import Buffer, BufferKind, new_buffer
from ..library.tensor_spec import StateSpec
from . import graph_bodies
from .graph import Graph
from .graph_steps import GraphCopy, GraphStep


def with_states(graph: Graph, pairs: Mapping[str, str]) -> Graph:
    """The graph that leaves in inputs what some outputs are, and has only the other outputs.

    Kernels write there at once what was read for the last time; the rest is copied at the end.

    Args:
        graph: what calls the kernels.
        pairs: the outputs that inputs become, by the names of these.
    """
    if not pairs:
        return graph
    inputs = [spec.name for spec in graph.inputs]
    outputs = [spec.name for spec in graph.outputs]
    places = {buffer.offset: i for i, buffer in enumerate(graph.buffers) if buffer.kind is BufferKind.INPUT}
    states = [places[inputs.index(name)] for name in pairs]
    results = [graph.results[outputs.index(output)] for output in pairs.values()]
    buffers: list[Buffer] = list(graph.buffers)

    def like(index: int) -> int:
        buffers.append(new_buffer(BufferKind.WORKSPACE, buffers[index].bytes))
        return len(buffers) - 1

    # An output that is what a state held before is kept.
    left = [number for number, name in enumerate(outputs) if name not in pairs.values()]
    kept: dict[int, int] = {}
    first: list[GraphStep] = []
    for number in left:
        index = graph.results[number]
        if index in states and index not in results and index not in kept:
            kept[index] = like(index)
            first.append(GraphCopy(index, kept[index], (outputs[number],)))
    names = graph_bodies.places_in_states(graph.steps, states, results, (), buffers)
    steps = graph_bodies.turn_of(graph.steps, states, results, (), buffers, like, tuple(pairs.values()))
    others = [
        kept.get(graph.results[number], names.get(graph.results[number], graph.results[number])) for number in left
    ]
    said = [
        StateSpec(graph.inputs[inputs.index(name)], graph.outputs[outputs.index(output)])
        for name, output in pairs.items()
    ]
    return replace(
        graph,
        outputs=tuple(graph.outputs[number] for number in left),
        results=tuple(others),
        steps=(*first, *steps),
        buffers=tuple(buffers),
        states=tuple(said),
    )

"""The order of steps: the lowest peak of all orders of small graphs, and never a higher one than before."""

from __future__ import annotations

import random

import networkx as nx
import pytest
from tilewright.compiler.emission.graph_steps import GraphCall, GraphStep
from tilewright.compiler.emission.order import in_order
from tilewright.compiler.library.plan import BufferKind, new_buffer


def peak(steps: tuple[GraphStep, ...], sizes: list[int], results: set[int]) -> int:
    """By the definition: what was made and will be read, at each step."""
    most = 0
    for number in range(len(steps)):
        used = [set(step.inputs) | set(step.outputs) for step in steps if isinstance(step, GraphCall)]
        before, after = set().union(*used[: number + 1]), set().union(*used[number:])
        most = max(most, sum(sizes[i] for i in before & after if i and i not in results))
    return most


def random_graph(seed: int, count: int) -> tuple[tuple[GraphCall, ...], list[int]]:
    """Each step makes a buffer of one to three before it; the first is the input."""
    generator = random.Random(seed)
    steps, sizes = [], [0]
    for number in range(1, count + 1):
        reads = tuple(sorted({generator.randrange(number) for _ in range(generator.randint(1, 3))}))
        steps.append(GraphCall(f"k{number}", reads, (number,), ()))
        sizes.append(generator.randint(1, 60))
    return tuple(steps), sizes


@pytest.mark.parametrize("seed", range(12))
def test_no_order_takes_less(seed: int) -> None:
    steps, sizes = random_graph(seed, 7)
    kinds = [BufferKind.INPUT, *[BufferKind.WORKSPACE] * 7]
    buffers = [new_buffer(kind, size) for kind, size in zip(kinds, sizes, strict=True)]
    read = {i for step in steps for i in step.inputs}
    results = {i for i in range(1, 8) if i not in read}

    ordered = in_order(steps, buffers, results, lambda step: 0)

    graph = nx.DiGraph()
    graph.add_nodes_from(range(7))
    graph.add_edges_from((i - 1, number) for number, step in enumerate(steps) for i in step.inputs if i)
    best = min(peak(tuple(steps[i] for i in order), sizes, results) for order in nx.all_topological_sorts(graph))
    assert sorted(step.outputs for step in ordered if isinstance(step, GraphCall)) == [(i,) for i in range(1, 8)]
    assert peak(ordered, sizes, results) == best


def test_wide_graphs_end_soon_and_take_no_more() -> None:
    steps, sizes = random_graph(1, 150)
    buffers = [new_buffer(BufferKind.WORKSPACE if i else BufferKind.INPUT, size) for i, size in enumerate(sizes)]
    ordered = in_order(steps, buffers, {150}, lambda step: 0)
    assert peak(ordered, sizes, {150}) <= peak(steps, sizes, {150})


def test_writers_keep_their_order() -> None:
    """A second kernel writes a part of the first one's result: what reads that comes after both."""
    steps = (
        GraphCall("first", (0,), (1,), ()),
        GraphCall("other", (0,), (2,), ()),
        GraphCall("second", (2,), (1,), ()),
        GraphCall("last", (1,), (3,), ()),
    )
    buffers = [new_buffer(BufferKind.INPUT, 0), *(new_buffer(BufferKind.WORKSPACE, size) for size in (50, 10, 5))]
    ordered = [step.function for step in in_order(steps, buffers, {3}, lambda step: 0) if isinstance(step, GraphCall)]
    assert ordered.index("second") > ordered.index("first") and ordered[-1] == "last"

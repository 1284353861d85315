"""A graph and its kernels -> the plan: steps, who owns which buffer, and where each one lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ...sizes import largest
from ..library.plan import (
    ALIGNMENT,
    Branch,
    BufferKind,
    Bytes,
    Call,
    Copy,
    Kernel,
    Loop,
    Numbers,
    Plan,
    Scalar,
    Step,
    new_buffer,
)
from .graph import Graph
from .graph_steps import GraphCall, GraphCopy, GraphLoop, GraphNumbers, GraphStep, calls_of, written_by
from .lifetimes import with_lifetimes
from .memory import plan_memory
from .order import in_order
from .regions import into_regions


def make_plan(
    name: str,
    graph: Graph,
    kernels: Sequence[Kernel],
    kernel_of: Mapping[str, int],
    *,
    limits: Mapping[str, Bytes] = MappingProxyType({}),
    unit: Bytes = ALIGNMENT,
    reorder: bool = False,
) -> Plan:
    """Joins the graph with its kernels: adds their scratch, copies for outputs that no kernel writes, and offsets.

    Args:
        name: prefix of the library's C symbols.
        graph: what `read_graph` returned.
        kernels: the kernels of the library.
        kernel_of: the index of the kernel that each function of the graph became.
        limits: memories that the workspace is in, the fastest first, with their sizes; none: one as large as needed.
        unit: what offsets in the workspace are multiples of.
        reorder: whether steps may stand in another order than in the graph, if that takes less memory.

    Raises:
        RegionError: the workspace does not fit the memories.
    """
    buffers = list(graph.buffers)

    def call(each: GraphCall) -> Call:
        index = kernel_of[each.function]
        scratch = range(len(buffers), len(buffers) + len(kernels[index].scratch))
        buffers.extend(new_buffer(BufferKind.WORKSPACE, size) for size in kernels[index].scratch)
        return Call(index, (*each.inputs, *each.outputs, *scratch), each.sources)

    def scratch_bytes(step: GraphStep) -> Bytes:
        return max(
            (sum(map(largest, kernels[kernel_of[each.function]].scratch)) for each in calls_of([step])), default=0
        )

    ordered = in_order(graph.steps, buffers, graph.results, scratch_bytes) if reorder else graph.steps
    steps = _planned(ordered, call)
    written = {i for step in graph.steps for i in written_by(step)}
    for position, (result, spec) in enumerate(zip(graph.results, graph.outputs, strict=True)):
        if buffers[result].kind is BufferKind.WORKSPACE and result in written:
            # The kernel writes the caller's memory itself.
            buffers[result] = replace(buffers[result], kind=BufferKind.OUTPUT, offset=position)
        else:
            buffers.append(new_buffer(BufferKind.OUTPUT, spec.nbytes, offset=position))
            if spec.nbytes:
                steps.append(Copy(result, len(buffers) - 1, (spec.name,)))
    buffers = with_lifetimes(buffers, steps)
    if limits:
        buffers = into_regions(buffers, steps, kernels, limits, unit)
    placed, regions = plan_memory(buffers, unit)
    return Plan(
        name,
        graph.inputs,
        graph.outputs,
        tuple(kernels),
        tuple(steps),
        placed,
        graph.constants,
        regions,
        graph.dimensions,
        graph.states,
    )


def _planned(steps: Sequence[GraphStep], call: Callable[[GraphCall], Call]) -> list[Step]:
    """The steps as the plan has them."""
    planned: list[Step] = []
    for step in steps:
        if isinstance(step, GraphCall):
            planned.append(call(step))
        elif isinstance(step, GraphCopy):
            planned.append(Copy(step.source, step.destination, step.sources, step.turn, step.fit))
        elif isinstance(step, GraphNumbers):
            planned.append(Numbers(step.destinations, step.sizes))
        elif isinstance(step, GraphLoop):
            count = step.count if step.counted is None else Scalar(step.counted)
            planned.append(Loop(count, tuple(_planned(step.body, call)), step.counter, step.condition))
        else:
            sides = (tuple(_planned(side, call)) for side in (step.then, step.otherwise))
            planned.append(Branch(step.condition, *sides))
    return planned

"""A graph and its kernels -> the plan: steps, who owns which buffer, and where each one lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ..library.plan import ALIGNMENT, BufferKind, Bytes, Call, Copy, Kernel, Plan, Step, new_buffer
from .graph import Graph
from .lifetimes import with_lifetimes
from .memory import plan_memory
from .regions import into_regions


def make_plan(
    name: str,
    graph: Graph,
    kernels: Sequence[Kernel],
    kernel_of: Mapping[str, int],
    *,
    limits: Mapping[str, Bytes] = MappingProxyType({}),
    unit: Bytes = ALIGNMENT,
) -> Plan:
    """Joins the graph with its kernels: adds their scratch, copies for outputs that no kernel writes, and offsets.

    Args:
        name: prefix of the library's C symbols.
        graph: what `read_graph` returned.
        kernels: the kernels of the library.
        kernel_of: the index of the kernel that each function of the graph became.
        limits: memories that the workspace is in, the fastest first, with their sizes; none: one as large as needed.
        unit: what offsets in the workspace are multiples of.

    Raises:
        RegionError: the workspace does not fit the memories.
    """
    buffers = list(graph.buffers)
    steps: list[Step] = []
    for call in graph.calls:
        index = kernel_of[call.function]
        scratch = range(len(buffers), len(buffers) + len(kernels[index].scratch))
        buffers += [new_buffer(BufferKind.WORKSPACE, size) for size in kernels[index].scratch]
        steps.append(Call(index, (*call.inputs, *call.outputs, *scratch), call.sources))
    written = {i for call in graph.calls for i in call.outputs}
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
    return Plan(name, graph.inputs, graph.outputs, tuple(kernels), tuple(steps), placed, graph.constants, regions)

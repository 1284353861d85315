"""The import for the largest sizes becomes one for all: what depends on sizes says so."""

from __future__ import annotations

from dataclasses import replace

import tvm

from ...frontends import ImportedModel
from ...ir_passes.core.functions import joined, split
from ...ir_passes.core.graph import Graph
from ...ir_types import IRModule
from .resampled import resampled
from .seen import Seen, is_counted, is_sampled
from .sized_constants import Sizes
from .writer import Writer


def settled(large: ImportedModel, seen: Seen, sizes: Sizes) -> ImportedModel:
    """The import for the largest sizes, in which what depends on sizes says so; bodies of loops and branches, too.

    Args:
        large: that import.
        seen: what those for other sizes have in its place.
        sizes: what all of them are for, in order.

    Raises:
        UnsupportedError: the model is another one for other sizes; the node is named.
    """
    parts = split(large.module)
    return replace(large, module=joined({name: _settled(name, part, seen, sizes) for name, part in parts.items()}))


def _settled(name: str, part: IRModule, seen: Seen, sizes: Sizes) -> IRModule:
    """One function."""
    graph, ends = Graph.read(part), seen.settled_ends()
    write = Writer(sizes)
    differing = {number for function, number, _ in seen.differing if function == name}
    for number, (var, value) in enumerate(graph.bindings):
        where = f"node '{var.name}'"
        if var in ends:
            write.bind(var, ends[var].call(value))
        elif is_sampled(value):
            write.bind(var, resampled([value, *seen.calls.get((name, number), [])], write, where))
        elif is_counted(value):
            write.bind(var, write.counted(var, [value, *seen.found.get((name, number, 0), [])], where))
        elif isinstance(value, tvm.ir.Call) and number in differing:
            write.bind(var, write.call(value, name, number, seen, where))
        else:
            write.bind(var, value)
    return replace(graph, bindings=tuple(write.bindings)).write(part)

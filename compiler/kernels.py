"""The kernels of a compile whose passes have run: those of all sizes together."""

from __future__ import annotations

from .built import Build
from .emission.graph import read_graph
from .emission.in_place import in_place
from .emission.kernel_table import KernelTable, kernel_table
from .emission.ranges import graph_of_ranges
from .emission.states import with_states
from .extents.sized_parts import ranged


def kernels_of(made: Build) -> KernelTable:
    """The kernels of a compile whose passes have run, and the graph that calls them.

    Raises:
        CompilerError: the module is not as the passes leave one.
    """
    imported, module = made.imported, made.module
    assert imported is not None and module is not None
    pairs = {state.input: state.output for state in made.states}
    if made.ranges is None:
        graph = read_graph(module, imported.output_names, imported.input_names, imported.dtypes, imported.extents)
        graph = with_states(graph, pairs)
    else:
        best = [ranged(each.imported, each.module, each.ranges, each.values) for each in made.best]
        whole = ranged(imported, module, made.ranges, ())
        module, graph = graph_of_ranges(whole, best, made.ranges.dimensions, pairs)
    if made.target.saves_memory:
        graph = in_place(graph, module)
    return kernel_table(module, graph, made.name)

"""Which node of a model a pass fails at: found by running it on the first half of the graph, a quarter more, ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm

from .graph import Binding, Graph, Var, leaves


def failing_node(module: tvm.IRModule, change: Callable[[tvm.IRModule], Any]) -> str | None:
    """The name of the last binding of the shortest beginning of `main` that `change` fails on.

    None where that cannot be found out: what fails needs more of the graph than any beginning of it has.
    """
    try:
        graph = Graph.read(module)
        if not _fails(module, graph, len(graph.bindings), change):
            return None
        good, bad = 0, len(graph.bindings)
        while bad - good > 1:
            middle = (good + bad) // 2
            if _fails(module, graph, middle, change):
                bad = middle
            else:
                good = middle
        return str(graph.bindings[bad - 1][0].name)
    except Exception:  # the module may be broken in any way: then its pass alone is named
        return None


def _fails(module: tvm.IRModule, graph: Graph, count: int, change: Callable[[tvm.IRModule], Any]) -> bool:
    bindings = graph.bindings[:count]
    if not bindings:
        return False
    outputs = _unread(bindings)
    beginning = Graph(graph.params, bindings, outputs, True, graph.attrs).write(module)
    try:
        change(beginning)
    except Exception:  # whatever it is that fails
        return True
    return False


def _unread(bindings: Sequence[Binding]) -> tuple[Var, ...]:
    read = {leaf for _, value in bindings for leaf in leaves(value)}
    return tuple(var for var, _ in bindings if var not in read)

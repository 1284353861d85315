"""Slices without copies: the kernels that read a slice read it where it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm

from ...annotations import SLICE
from ..core.base import GraphPass, PassResult
from ..core.graph import Binding, Expr, Graph, Var
from ..core.rewriter import shape_of
from .kernel_graph import KernelGraph, kernel_graph, without_uncalled
from .windows import Specializations, Window, through_windows


@dataclass(frozen=True)
class SliceInPlace(GraphPass):
    """k(slice(x)) -> k'(x), where k' reads the window of x that the slice was.

    For kernels marked as slices, after fusion and scheduling, all of whose readers are kernels. Contract: these slices
    are gone; no reader reads more of x than before.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        views = _views(kernel_graph(module, graph))
        if not views:
            return PassResult(module, False)
        twins = Specializations(module.clone())
        bindings: list[Binding] = []
        for var, value in graph.bindings:
            if var not in views:
                bindings.append((var, through_windows(twins, value, views)))
        module = replace(graph, bindings=tuple(bindings)).write(twins.module)
        return PassResult(without_uncalled(module), True)


def _views(graph: KernelGraph) -> dict[Var, tuple[Expr, Window]]:
    """Slices that only kernels read: what they are a window of."""
    found: dict[Var, tuple[Expr, Window]] = {}
    for call in graph.calls.values():
        starts = SLICE.of(call.function)
        if starts is None or graph.readers_in_graph(call) is None:
            continue
        (source,) = call.operands
        shape = shape_of(source)
        if shape is None:
            continue
        if source in found:  # a slice of a slice
            source, window = found[source]
            shape = window.shape
            starts = tuple(a + b for a, b in zip(starts, window.starts, strict=True))
        found[call.var] = (source, Window(shape, starts))
    return found

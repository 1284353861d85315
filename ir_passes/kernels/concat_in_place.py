"""Concatenations without copies: the kernels that make the parts write them where they belong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import tvm
from tvm import relax

from ...annotations import CONCAT
from ..core.base import GraphPass, PassResult
from ..core.graph import Binding, Expr, Graph, Var, substitute
from ..core.rewriter import dtype_of
from .kernel_graph import KernelCall, KernelGraph, kernel_graph, renamed, without_uncalled
from .windows import Specializations, Window, through_windows


@dataclass(frozen=True)
class _Part:
    """Where a kernel's result goes: a window of the result of the concatenation `whole`."""

    whole: Var
    window: Window


@dataclass(frozen=True)
class ConcatInPlace(GraphPass):
    """concat(k1(..), k2(..), ..) -> k1 writes its part of the whole, then k2 its own, in the same memory.

    For kernels marked as concatenations, after fusion and scheduling, all of whose operands are results of kernels that
    only kernels read, no other concatenation among them. The first kernel makes the whole tensor (`call_tir`, the rest
    of it not yet written), the others are `call_tir_inplace` on it; each gets a PrimFunc of its own, whose last
    parameter is the whole. Who reads a part besides the concatenation reads its window of the whole. Contract: the
    concatenation is gone, and every element of its result is written once.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        parts = _parts(kernel_graph(module, graph))
        if not parts:
            return PassResult(module, False)
        twins = Specializations(module.clone())
        done: dict[Var, Expr] = {}  # concatenation -> the whole, as far as it is written
        views: dict[Var, tuple[Expr, Window]] = {}
        members: dict[Var, list[Var]] = {}
        for member, place in parts.items():
            members.setdefault(place.whole, []).append(member)
        bindings: list[Binding] = []
        for var, value in graph.bindings:
            value = renamed(value, done)
            part = parts.get(var)
            if part is not None:
                into, suffix = done.get(part.whole), f"_at_{max(part.window.starts)}"
                call = through_windows(twins, value, views, result=part.window, into=into, suffix=suffix)
                written = relax.DataflowVar(var.name, call.ty)
                done[part.whole] = written
                views.update({each: (written, parts[each].window) for each in members[part.whole]})
                bindings.append((written, call))
            elif var not in done:  # else all its parts are written
                bindings.append((var, through_windows(twins, value, views)))
        outputs = tuple(substitute(output, done) for output in graph.outputs)
        module = replace(graph, bindings=tuple(bindings), outputs=outputs).write(twins.module)
        return PassResult(without_uncalled(module), True)


def _parts(graph: KernelGraph) -> dict[Var, _Part]:
    """The kernels' results that are parts of a concatenation; what else reads them are kernels."""
    found: dict[Var, _Part] = {}
    for whole in graph.calls.values():
        axis = CONCAT.of(whole.function)
        operands = [graph.calls.get(operand) for operand in whole.operands]
        if axis is None or not all(operand is not None and _is_part(graph, operand, whole) for operand in operands):
            continue
        offset = 0
        for operand in operands:
            assert operand is not None
            starts = [0] * len(whole.shape)
            starts[axis] = offset
            found[operand.var] = _Part(whole.var, Window(whole.shape, tuple(starts)))
            offset += operand.shape[axis]
    return found


def _is_part(graph: KernelGraph, operand: KernelCall, whole: KernelCall) -> bool:
    readers = graph.readers_in_graph(operand)
    if readers is None or whole.reads(operand) != 1:
        return False
    others = [reader for reader in readers if reader is not whole]
    of_one = not any(CONCAT.of(reader.function) is not None for reader in others)
    return of_one and CONCAT.of(operand.function) is None and dtype_of(operand.var) == dtype_of(whole.var)

"""Rows are written behind others in the memory of these: a state that continues is never copied."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from ...annotations import APPEND
from ...ir_types import Expr, PrimFunc
from ..core.base import GraphPass, PassResult
from ..core.graph import Graph
from .kernel_graph import is_call_tir, without_uncalled
from .windows import Specializations


@dataclass(frozen=True)
class AppendInPlace(GraphPass):
    """append(state, new, begin, count) -> the same kernel without its first parameter, called in place on the state.

    Nothing but such a kernel may read the state. Contract: the result is the state with new rows, in its memory.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        graph = Graph.read(module)
        if not any(is_call_tir(value) and APPEND.of(module[value.args[0]]) for _, value in graph.bindings):
            return PassResult(module, False)
        kernels = Specializations(module.clone())
        bindings = []
        for var, value in graph.bindings:
            if is_call_tir(value) and APPEND.of(module[value.args[0]]):
                value = _in_place(kernels, value)
            bindings.append((var, value))
        made = Graph(graph.params, tuple(bindings), graph.outputs, graph.tuple_result, graph.attrs)
        return PassResult(without_uncalled(made.write(kernels.module)), True)


def _in_place(kernels: Specializations, value: Expr) -> Expr:
    state, *operands = value.args[1].fields

    def without_state(function: PrimFunc) -> PrimFunc:
        return tirx.PrimFunc(list(function.params)[1:], function.body, function.ret_type, function.attrs)

    types = list(value.args[0].ty.params)[1:]
    twin = kernels.get(value.args[0], "in place", without_state, types)
    call = relax.op.call_tir_inplace(twin, relax.Tuple([*operands, state]), [len(operands)], value.ty)
    return relax.BlockBuilder().normalize(call)

"""Kernels learn where their results end: what lies behind need not be computed.

`hold_extents` says of the result of each operator which size its outermost digit has. Legalization makes a kernel of
it, whose attribute `STOP` says so from then on. At the end, kernels get that size as a parameter (`STOPS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import tvm
from tvm import relax, tirx

from ...annotations import STOP, STOPS
from ...ir_types import Expr, GlobalVar, PrimFunc, Var
from ..core.base import GraphPass, PassResult
from ..core.graph import Binding, Graph
from ..kernels.kernel_graph import is_call_tir, without_uncalled
from ..kernels.windows import Specializations
from .hold_extents import Stop, Told


def with_stops(before: tvm.IRModule, after: tvm.IRModule) -> tvm.IRModule:
    """A legalized module whose kernels say where the results of the operators end that they were made of.

    Args:
        before: what was legalized: the variables of its bindings are those of the last kernels made of them.
    """
    told = Told.of(before)
    if told is None:
        return after
    stops = {var: tuple(stop) for (var, _), stop in zip(Graph.read(before).bindings, told.bindings, strict=True)}
    kernels = Specializations(after.clone())
    graph = Graph.read(after)

    def marked(var: Var, value: Expr) -> Expr:
        stop = stops.get(var, (-1, 0))
        if stop[0] < 0 or not is_call_tir(value):
            return value
        twin = kernels.get(value.args[0], stop, lambda function: STOP.on(function, list(stop)), [None] * _count(value))
        return _calling(value, twin, list(value.args[1].fields))

    bindings = tuple((var, marked(var, value)) for var, value in graph.bindings)
    return without_uncalled(_written(graph, bindings, kernels))


@dataclass(frozen=True)
class StopAtExtents(GraphPass):
    """Give each kernel that says where its result ends that size as its last operand.

    Contract: `main` computes the same; `STOPS` says of a kernel which parameter the size is, and how many there can be
    along the outermost axis of each parameter that ends with it.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        told = Told.of(module)
        if told is None:
            return PassResult(module, False)
        graph = Graph.read(module)
        inputs, sizes = graph.params[: len(told.inputs)], graph.params[len(told.inputs) :]
        stops: dict[Var, Stop] = {var: (stop[0], stop[1]) for var, stop in zip(inputs, told.inputs, strict=True)}
        kernels = Specializations(module.clone())
        bindings = []
        for var, value in graph.bindings:
            if is_call_tir(value) and isinstance(value.args[1], relax.Tuple):
                found = STOP.of(module[value.args[0]])
                if found is not None:
                    stops[var] = (found[0], found[1])
                    value = _stopped(kernels, value, stops, var, sizes)
            elif isinstance(value, tvm.ir.Call) and value.op.name == "relax.reshape":
                operand = value.args[0]
                if isinstance(operand, relax.Var) and operand in stops:
                    stops[var] = stops[operand]
            bindings.append((var, value))
        return PassResult(without_uncalled(_written(graph, bindings, kernels)), True)


def _stopped(kernels: Specializations, value: Expr, stops: Mapping[Var, Stop], var: Var, sizes: Sequence[Var]) -> Expr:
    """A call of a kernel that is told where its result ends."""
    number = stops[var][0]
    operands = list(value.args[1].fields)
    ends = [stops.get(each, (-1, 0)) if isinstance(each, relax.Var) else (-1, 0) for each in operands]
    bounds = [bound if which == number else 0 for which, bound in ends]
    marks = [len(operands), *bounds, 0, stops[var][1]]

    def told(function: PrimFunc) -> PrimFunc:
        size = tirx.decl_buffer([], "int64", "stop")
        parameters = list(function.params)
        parameters.insert(len(operands), size)
        return STOPS.on(tirx.PrimFunc(parameters, function.body, function.ret_type, function.attrs), marks)

    types = list(value.args[0].ty.params)
    types.insert(len(operands), relax.TensorType([], "int64"))
    twin = kernels.get(value.args[0], ("stop", *marks), told, types)
    return _calling(value, twin, [*operands, sizes[number]])


def _calling(value: Expr, kernel: GlobalVar, operands: Sequence[Expr]) -> Expr:
    arguments = [kernel, relax.BlockBuilder().normalize(relax.Tuple(list(operands))), *list(value.args)[2:]]
    return tvm.ir.Call(value.op, arguments, value.attrs, list(value.ty_args), ret_ty=value.ty)


def _count(value: Expr) -> int:
    return len(value.args[0].ty.params)


def _written(graph: Graph, bindings: Sequence[Binding], kernels: Specializations) -> tvm.IRModule:
    return replace(graph, bindings=tuple(bindings)).write(kernels.module)

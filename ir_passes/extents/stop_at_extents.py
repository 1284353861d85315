"""Kernels learn where their results end: what lies behind need not be computed.

`hold_extents` says of the result of each operator where it ends. Legalization makes a kernel of it, whose attribute
`STOP` says so from then on. At the end, kernels get these sizes as parameters (`STOPS`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import tvm
from tvm import relax, tirx

from ...annotations import OWN_END, STOP, STOPS
from ...ir_types import Expr, GlobalVar, PrimFunc, Var
from ..core.base import GraphPass, PassResult
from ..core.graph import Binding, Graph
from ..kernels.kernel_graph import is_call_tir, without_uncalled
from ..kernels.windows import Specializations
from .hold_extents import Stop, Told
from .step import shape_of, tensor_types

_Row: TypeAlias = tuple[int, int, int, int, int]  # as `STOP` has them


def with_stops(before: tvm.IRModule, after: tvm.IRModule) -> tvm.IRModule:
    """A legalized module whose kernels say where the results of the operators end that they were made of.

    Args:
        before: what was legalized: the variables of its bindings are those of the last kernels made of them.
    """
    told = Told.of(before)
    if told is None:
        return after
    stops = {var: stop for (var, _), stop in zip(Graph.read(before).bindings, told.bindings, strict=True)}
    kernels = Specializations(after.clone())
    graph = Graph.read(after)

    def marked(var: Var, value: Expr) -> Expr:
        if not is_call_tir(value) or not stops.get(var):
            return value
        marks = [number for row in _placed(stops[var], shape_of(var.ty)) for number in row]
        if not marks:
            return value
        twin = kernels.get(
            value.args[0], tuple(marks), lambda function: STOP.on(function, marks), [None] * _count(value)
        )
        return _calling(value, twin, list(value.args[1].fields))

    bindings = tuple((var, marked(var, value)) for var, value in graph.bindings)
    return without_uncalled(_written(graph, bindings, kernels))


@dataclass(frozen=True)
class StopAtExtents(GraphPass):
    """Give each kernel that says where its result ends, or reads what ends, those sizes as its last operands.

    Contract: `main` computes the same; `STOPS` says of a kernel where its operands and its result end, and which
    parameters the sizes are.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        told = Told.of(module)
        if told is None:
            return PassResult(module, False)
        graph = Graph.read(module)
        inputs, sizes = graph.params[: len(told.inputs)], graph.params[len(told.inputs) :]
        stops = dict(zip(inputs, told.inputs, strict=True))
        kernels = Specializations(module.clone())
        bindings = []
        for var, value in graph.bindings:
            if is_call_tir(value) and isinstance(value.args[1], relax.Tuple):
                found = _rows(STOP.of(module[value.args[0]]) or ())
                if found:
                    stops[var] = _flat(found, shape_of(tensor_types(var.ty)[0]))
                if not OWN_END.of(module[value.args[0]]):
                    value = _stopped(kernels, value, found, stops, sizes)
            elif isinstance(value, tvm.ir.Call) and value.op.name == "relax.reshape":
                operand = value.args[0]
                if isinstance(operand, relax.Var) and operand in stops:
                    stops[var] = stops[operand]
            bindings.append((var, value))
        return PassResult(without_uncalled(_written(graph, bindings, kernels)), True)


def _rows(numbers: Sequence[int]) -> list[_Row]:
    return [(a, b, c, d, e) for a, b, c, d, e in zip(*(numbers[place::5] for place in range(5)), strict=True)]


def _placed(stop: Stop, shape: Sequence[int]) -> list[_Row]:
    """Where a tensor ends by the positions along its axes; what is spread over several axes is left out."""
    rows = []
    for size, step, bound in stop:
        inner = math.prod(shape)
        for axis, extent in enumerate(shape):
            outer, inner = inner, inner // extent
            if step % inner == 0 and outer % (step * bound) == 0:
                rows.append((axis, 0, step // inner, 0 if step * bound == outer else bound, size))
                break
    return rows


def _flat(rows: Sequence[_Row], shape: Sequence[int]) -> Stop:
    """The same by the place in memory; of a kernel that writes one part of a tensor, along the axes of all of it."""
    stop: Stop = []
    for axis, begin, step, bound, size in rows:
        if begin == 0 and shape[axis] % (step * (bound or 1)) == 0:
            stop.append((size, step * math.prod(shape[axis + 1 :]), bound or shape[axis] // step))
    return stop


def _stopped(
    kernels: Specializations, value: Expr, found: Sequence[_Row], stops: Mapping[Var, Stop], sizes: Sequence[Var]
) -> Expr:
    """A call of a kernel that is told where its operands and its result end."""
    operands = list(value.args[1].fields)
    ends: list[tuple[int, _Row]] = []
    for place, operand in enumerate(operands):
        if isinstance(operand, relax.Var) and stops.get(operand):
            ends += [(place, row) for row in _placed(stops[operand], shape_of(operand.ty))]
    used = list(dict.fromkeys(row[-1] for row in (*(row for _, row in ends), *found)))
    if not used:
        return value
    first = len(operands)
    rows = [*ends, *((first + len(used), row) for row in found)]
    marks = [number for place, (*row, size) in rows for number in (place, *row, first + used.index(size))]

    def told(function: PrimFunc) -> PrimFunc:
        parameters = list(function.params)
        parameters[first:first] = [tirx.decl_buffer([], "int64", "stop") for _ in used]
        return STOPS.on(tirx.PrimFunc(parameters, function.body, function.ret_type, function.attrs), marks)

    types = list(value.args[0].ty.params)
    types[first:first] = [relax.TensorType([], "int64") for _ in used]
    twin = kernels.get(value.args[0], ("stop", *marks), told, types)
    return _calling(value, twin, [*operands, *(sizes[size] for size in used)])


def _calling(value: Expr, kernel: GlobalVar, operands: Sequence[Expr]) -> Expr:
    arguments = [kernel, relax.BlockBuilder().normalize(relax.Tuple(list(operands))), *list(value.args)[2:]]
    return tvm.ir.Call(value.op, arguments, value.attrs, list(value.ty_args), ret_ty=value.ty)


def _count(value: Expr) -> int:
    return len(value.args[0].ty.params)


def _written(graph: Graph, bindings: Sequence[Binding], kernels: Specializations) -> tvm.IRModule:
    return replace(graph, bindings=tuple(bindings)).write(kernels.module)

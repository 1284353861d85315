"""Many candidates in one library: modules of scheduled kernels, each for other choices, joined to one.

A variant has one choice of each workload that it is about, so a workload with three candidates is in three variants.
They run one after the other, so that a kernel finds the caches as another kernel leaves them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import relax

from ...frontends import ImportedModel
from ...ir_passes.core.graph import MAIN, Binding, Expr, Graph, Var, substitute

_MARK = "#"


def name_in(variant: int, name: str) -> str:
    """What an output or an operator is called in the library of all variants."""
    return f"{name}{_MARK}{variant}"


def joined(variants: Sequence[ImportedModel]) -> ImportedModel:
    """One model of several with the same inputs: the outputs of all of them, in order.

    Args:
        variants: their modules are those after all passes.
    """
    functions: dict[object, object] = {}
    renamed: list[dict[str, tvm.ir.GlobalVar]] = []
    for number, variant in enumerate(variants):
        renamed.append({})
        for var, function in variant.module.functions.items():
            if var.name_hint != MAIN:
                new = tvm.ir.GlobalVar(f"{var.name_hint}_{number}")
                relax.expr._update_type(new, var.ty)
                renamed[-1][str(var.name_hint)] = new
                functions[new] = function
    module = tvm.IRModule({**functions, tvm.ir.GlobalVar(MAIN): variants[0].module[MAIN]})
    parameters: dict[str, Var] = {}
    bindings: list[Binding] = []
    outputs: list[Expr] = []
    names: list[str] = []
    graphs = [Graph.read(variant.module) for variant in variants]
    for number, (variant, graph) in enumerate(zip(variants, graphs, strict=True)):
        env: dict[Var, Expr] = {
            var: parameters.setdefault(name, var) for name, var in zip(variant.input_names, graph.params, strict=True)
        }
        for var, value in graph.bindings:
            parts = str(var.name).split("+")
            new = relax.DataflowVar("+".join(name_in(number, part) for part in parts), var.ty)
            bindings.append((new, _calling(substitute(value, env), renamed[number])))
            env[var] = new
        outputs += [substitute(each, env) for each in graph.outputs]
        names += [name_in(number, name) for name in variant.output_names]
    graph = Graph(tuple(parameters.values()), tuple(bindings), tuple(outputs), True, graphs[0].attrs)
    return ImportedModel(graph.write(module), variants[0].name, tuple(parameters), tuple(names))


def _calling(value: Expr, renamed: Mapping[str, tvm.ir.GlobalVar]) -> Expr:
    """A value that calls a variant's function under its new name."""
    if isinstance(value, tvm.ir.Call) and value.args and isinstance(value.args[0], tvm.ir.GlobalVar):
        function = renamed[str(value.args[0].name_hint)]
        value = tvm.ir.Call(value.op, [function, *list(value.args)[1:]], value.attrs, list(value.ty_args))
    return relax.BlockBuilder().normalize(value)

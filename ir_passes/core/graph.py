"""`main` as a list of bindings: reading it from a module, writing it back, and what uses what.

Passes work on this list. A binding is a pair (variable, value); a value is a call, a tuple or a tuple item whose
arguments are leaves: variables, constants, shapes, or tuples of leaves (Relax's own normal form).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax

from ...errors import CompilerError
from ...ir_types import Attributes
from ...ir_types import Expr as Expr
from ...ir_types import Var as Var

Binding = tuple[Var, Expr]

MAIN = "main"
OUTPUT_HINT = "outputs"


@dataclass(frozen=True)
class Graph:
    """The bindings of `main` in order.

    `outputs` are leaves; `tuple_result` says whether the function returns them as a tuple (always so after import) or
    returns the only one of them.
    """

    params: tuple[Var, ...]
    bindings: tuple[Binding, ...]
    outputs: tuple[Expr, ...]
    tuple_result: bool
    attrs: Attributes

    @staticmethod
    def read(module: tvm.IRModule) -> Graph:
        """Take `main` apart.

        Raises:
            CompilerError: `main` has a binding that passes cannot work on (a match_cast, a branch).
        """
        function = module[MAIN]
        if not isinstance(function.body, relax.SeqExpr):
            return Graph(tuple(function.params), (), *_split_result(function.body), function.attrs)
        renamed: dict[Var, Expr] = {}
        bindings: list[Binding] = []
        for block in function.body.blocks:
            for binding in block.bindings:
                if not isinstance(binding, relax.VarBinding) or isinstance(binding.value, relax.If):
                    raise CompilerError(
                        "the graph holds a binding that the passes do not know", where=f"binding '{binding.var.name}'"
                    )
                value = substitute(binding.value, renamed)
                var = binding.var
                if is_leaf(value):
                    renamed[var] = value  # an alias, or a tuple, which then stands where it is read
                    continue
                if not isinstance(var, relax.DataflowVar):
                    var = relax.DataflowVar(var.name, var.ty)
                    renamed[binding.var] = var
                bindings.append((var, value))
        result = substitute(function.body.body, renamed)
        return Graph(tuple(function.params), tuple(bindings), *_split_result(result), function.attrs)

    def write(self, module: tvm.IRModule) -> tvm.IRModule:
        """`module` with `main` replaced by this graph, as one dataflow block."""
        normalize = relax.BlockBuilder().normalize
        bindings = [relax.VarBinding(var, value) for var, value in self.bindings]
        outputs = list(self.outputs)
        if self.tuple_result:
            result = normalize(relax.Tuple(outputs))
            out_var = relax.Var(OUTPUT_HINT, result.ty)
            bindings.append(relax.VarBinding(out_var, result))
        elif isinstance(outputs[0], relax.DataflowVar):
            out_var = relax.Var(outputs[0].name, outputs[0].ty)
            if self.bindings and self.bindings[-1][0].same_as(outputs[0]):
                bindings[-1] = relax.VarBinding(out_var, self.bindings[-1][1])
            else:
                bindings.append(relax.VarBinding(out_var, outputs[0]))
        else:
            out_var = outputs[0]
        blocks = [relax.DataflowBlock(bindings)] if bindings else []
        body = relax.SeqExpr(blocks, out_var)
        relax.expr._update_type(body, out_var.ty)
        function = relax.Function(list(self.params), body, out_var.ty, attrs=self.attrs)
        result_module = module.clone()
        result_module.update_func(module.get_global_var(MAIN), function)
        return result_module


def _split_result(result: Expr) -> tuple[tuple[Expr, ...], bool]:
    return (tuple(result.fields), True) if isinstance(result, relax.Tuple) else ((result,), False)


def is_leaf(expr: Expr) -> bool:
    """Whether `expr` may stand as an argument: anything but a call, a tuple item or a function."""
    return not isinstance(expr, (tvm.ir.Call, relax.TupleGetItem, relax.SeqExpr, relax.If, relax.Function))


def leaves(expr: Expr) -> Iterator[Expr]:
    """The variables that a value reads, with repeats, in order."""
    if isinstance(expr, relax.Var):
        yield expr
    elif isinstance(expr, tvm.ir.Call):
        for arg in expr.args:
            yield from leaves(arg)
    elif isinstance(expr, relax.Tuple):
        for field in expr.fields:
            yield from leaves(field)
    elif isinstance(expr, relax.TupleGetItem):
        yield from leaves(expr.tuple_value)


def substitute(expr: Expr, env: Mapping[Var, Expr]) -> Expr:
    """`expr` with variables replaced; the same object when nothing in it is.

    A value that changes comes back without a type: the caller normalises it.
    """
    if not env:
        return expr
    if isinstance(expr, relax.Var):
        return env.get(expr, expr)
    if isinstance(expr, tvm.ir.Call):
        return _substitute_call(expr, env)
    if isinstance(expr, relax.Tuple):
        old_fields = list(expr.fields)
        fields = [substitute(field, env) for field in old_fields]
        return expr if _same(fields, old_fields) else relax.Tuple(fields)
    if isinstance(expr, relax.TupleGetItem):
        old_tuple = expr.tuple_value
        new_tuple = substitute(old_tuple, env)
        if new_tuple is old_tuple:
            return expr
        if isinstance(new_tuple, relax.Tuple):
            return new_tuple.fields[expr.index]
        return relax.TupleGetItem(new_tuple, expr.index)
    return expr


def _same(new: Sequence[Expr], old: Sequence[Expr]) -> bool:
    return all(a is b for a, b in zip(new, old, strict=True))


def _substitute_call(call: Expr, env: Mapping[Var, Expr]) -> Expr:
    old_args = list(call.args)
    args = [substitute(arg, env) for arg in old_args]
    if _same(args, old_args):
        return call
    return tvm.ir.Call(call.op, args, call.attrs, list(call.ty_args))


def remove_dead(bindings: Sequence[Binding], outputs: Iterable[Expr]) -> list[Binding]:
    """The bindings that `outputs` depend on, in order (Relax dataflow is pure, so the others do nothing)."""
    live = {leaf for output in outputs for leaf in leaves(output)}
    kept: list[Binding] = []
    for var, value in reversed(bindings):
        if var in live:
            live.update(leaves(value))
            kept.append((var, value))
    kept.reverse()
    return kept

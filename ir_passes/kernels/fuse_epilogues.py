"""Join kernels: what follows a contraction or reduction is computed on its result while that is in registers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import tvm
import tvm_ffi
from tvm import relax, tirx

from ...annotations import PATTERN, STOP, kernel_marks
from ...errors import CompilerError
from ...ir_types import GlobalVar
from ..core.base import GraphPass, PassResult
from ..core.graph import MAIN, Binding, Expr, Graph, Var, substitute
from ..core.sources import join
from .fusion_groups import Group, Limits, find_groups
from .kernel_graph import KernelCall, is_call_tir, kernel_graph, renamed, without_uncalled

_MAX_NAME = 80  # characters of a fused kernel's name


@dataclass(frozen=True)
class FuseEpilogues(GraphPass):
    """Group the `call_tir`s of a legalized `main` and make each group one PrimFunc (`fusion_groups.py` decides).

    A group is an anchor (a kernel with a template, or one that reduces) with the point-wise kernels after it and, for
    templates that allow it, before it; or element-wise and layout kernels alone. The fused PrimFunc carries the
    `tilewright.*` attributes of its anchor, and the largest `op_pattern` of its members. Kernels that only reshape
    become `relax.reshape`, an alias.

    Contract: every value of `main` is a `call_tir` of a PrimFunc, `reshape`, a tuple item or a constant operator that
    legalization left alone; the hint of a group's variable joins the hints of all its members; no two PrimFuncs are
    equal; every PrimFunc is called.

    Options:
        max_calls: kernels in a group.
        max_copies: how often the expression of one member may come to stand in another's after inlining.
        max_index_uses: how often a position in a group's result may stand in the position that a member reads: it
        does several times in a reflection, and many times in a reflection of a reflection.
        prologue_templates: templates that recompute their operand cheaply enough to take element-wise kernels before
        them.
        widening_templates: templates that make integers of 8 bits wider as they read them, several times each, rather
        than that they are stored so.
        transposed_results: let a transpose be the last member of an anchor's group (its schedule must support it) where
        rows stay rows: single elements that go far apart are better moved by a kernel of their own.
    """

    max_calls: int = 24
    max_copies: int = 8
    max_index_uses: int = 32
    prologue_templates: tuple[str, ...] = ("rows",)
    widening_templates: tuple[str, ...] = ("window",)
    transposed_results: bool = False

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main` and replace the PrimFuncs that it calls."""
        original = module
        module = relax.transform.RewriteDataflowReshape()(module)
        module = _share_equal_functions(module)
        graph = Graph.read(module)
        limits = Limits(
            self.max_calls,
            self.max_copies,
            self.max_index_uses,
            self.prologue_templates,
            self.widening_templates,
            self.transposed_results,
        )
        groups = [group for group in find_groups(kernel_graph(module, graph), limits) if len(group.members) > 1]
        if groups:
            module = _outline(module, graph, groups)
        module = without_uncalled(module)
        modified = bool(groups) or not tvm_ffi.structural_equal(module[MAIN], original[MAIN])
        return PassResult(module, modified)

    def check(self, module: tvm.IRModule) -> None:
        """Raise `CompilerError` if a group was left unfused or a PrimFunc has no caller."""
        called = set()
        for var, value in Graph.read(module).bindings:
            if isinstance(value, tvm.ir.Call) and isinstance(value.op, relax.GlobalVar):
                raise CompilerError("a group of kernels was not fused", where=f"binding '{var.name}'")
            if is_call_tir(value):
                called.add(value.args[0].name_hint)
        unused = {gvar.name_hint for gvar in module.functions} - called - {MAIN}
        if unused:
            raise CompilerError("kernels are left that nothing calls", details=sorted(unused)[:5])


def _share_equal_functions(module: tvm.IRModule) -> tvm.IRModule:
    """Let calls of structurally equal PrimFuncs call the same one."""
    representative: dict[GlobalVar, GlobalVar] = {}
    replaced: dict[GlobalVar, GlobalVar] = {}
    for gvar, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            key = tvm_ffi.StructuralKey(function)
            first = representative.setdefault(key, gvar)
            if not first.same_as(gvar):
                replaced[gvar] = first
    if not replaced:
        return module
    graph = Graph.read(module)
    bindings: list[Binding] = []
    for var, value in graph.bindings:
        if is_call_tir(value) and value.args[0] in replaced:
            args = [replaced[value.args[0]], *list(value.args)[1:]]
            value = tvm.ir.Call(value.op, args, value.attrs, list(value.ty_args), ret_ty=value.ty)
        bindings.append((var, value))
    return replace(graph, bindings=tuple(bindings)).write(module)


def _outline(module: tvm.IRModule, graph: Graph, groups: list[Group]) -> tvm.IRModule:
    """Move each group into a function of its own, equal ones into the same, and let TVM make PrimFuncs of those."""
    by_result = {group.result.var: group for group in groups}
    inside = {member.var for group in groups for member in group.members}
    builder = _GroupFunctions(module)
    bindings: list[Binding] = []
    for var, value in graph.bindings:
        if var in by_result:
            call, hint = builder.call(by_result[var])
            fused = relax.DataflowVar(hint, var.ty)
            bindings.append((fused, call))
            builder.renamed[var] = fused
        elif var not in inside:
            bindings.append((var, value))
    outlined = replace(graph, bindings=tuple(bindings))
    outlined_module = _rename(outlined, builder.renamed).write(builder.module)
    fused_module = relax.transform.FuseTIR()(outlined_module)
    for name, attributes in builder.attributes.items():
        gvar = fused_module.get_global_var(name)
        fused_module.update_func(gvar, fused_module[gvar].with_attr(attributes))
    return fused_module


def _rename(graph: Graph, names: dict[Var, Var]) -> Graph:
    """Read results of groups by their new names."""
    bindings = tuple((var, renamed(value, names)) for var, value in graph.bindings)
    outputs = tuple(substitute(output, names) for output in graph.outputs)
    return replace(graph, bindings=bindings, outputs=outputs)


class _GroupFunctions:
    """The functions that groups were moved into."""

    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module.clone()
        self.attributes: dict[str, dict[str, Any]] = {}
        self.renamed: dict[Var, Var] = {}
        self._by_key: dict[tuple[Any, ...], GlobalVar] = {}
        self._names = {gvar.name_hint for gvar in module.functions}
        self._normalize = relax.BlockBuilder().normalize

    def call(self, group: Group) -> tuple[Expr, str]:
        """A call of the group's function, and the hint of its result."""
        members = group.in_order()
        position = {member.var: index for index, member in enumerate(members)}
        arguments: list[Expr] = []
        slots: list[tuple[Any, ...]] = []
        for member in members:
            slots.append((member.value.args[0], *self._operand_slots(member, position, arguments)))
        # Operands that every function of the same calls shares the shapes of; so the calls and slots are the whole key.
        key = (tuple(slots), position[group.result.var])
        if key not in self._by_key:
            self._by_key[key] = self._define(group, members, slots, arguments)
        gvar = self._by_key[key]
        hint = join(member.var.name for member in sorted(members, key=lambda each: each.position))
        return tvm.ir.Call(gvar, arguments, ret_ty=group.result.var.ty), hint

    def _operand_slots(
        self, member: KernelCall, position: dict[Var, int], arguments: list[Expr]
    ) -> list[tuple[str, int]]:
        slots = []
        seen: set[int] = set()
        for operand in member.operands:
            if operand in position:
                slots.append(("member", position[operand]))
                continue
            index = next((i for i, known in enumerate(arguments) if known.same_as(operand)), len(arguments))
            if index in seen and not member.is_pointwise:
                index = len(arguments)  # FuseTIR would merge two regions of one buffer that the kernel reads apart
            if index == len(arguments):
                arguments.append(operand)
            seen.add(index)
            slots.append(("argument", index))
        return slots

    def _define(
        self, group: Group, members: list[KernelCall], slots: list[tuple[Any, ...]], arguments: list[Expr]
    ) -> GlobalVar:
        params = [relax.Var(f"arg{index}", argument.ty) for index, argument in enumerate(arguments)]
        results: list[Var] = []
        bindings = []
        for member, (function, *operands) in zip(members, slots, strict=True):
            new = [params[index] if kind == "argument" else results[index] for kind, index in operands]
            kind_of_var = relax.Var if member is group.result else relax.DataflowVar
            var = kind_of_var("value", member.var.ty)
            args = [function, self._normalize(relax.Tuple(new))]
            value = tvm.ir.Call(
                member.value.op, args, member.value.attrs, list(member.value.ty_args), ret_ty=member.value.ty
            )
            bindings.append(relax.VarBinding(var, value))
            results.append(var)
        result = results[members.index(group.result)]
        body = relax.SeqExpr([relax.DataflowBlock(bindings)], result)
        relax.expr._update_type(body, result.ty)
        function = relax.Function(params, body, result.ty).with_attr("Primitive", True)
        name = self._unique_name("fused_" + "_".join(member.value.args[0].name_hint for member in members))
        gvar = relax.GlobalVar(name)
        relax.expr._update_type(gvar, relax.FuncType([param.ty for param in params], result.ty))
        self.module.update_func(gvar, function)
        attributes = PATTERN.entry(max(member.pattern for member in members))
        if group.anchor is not None:
            attributes |= kernel_marks(group.anchor.function)
        stop = STOP.of(group.result.function)
        if stop is not None:
            attributes |= STOP.entry(list(stop))
        self.attributes[name] = attributes
        return gvar

    def _unique_name(self, name: str) -> str:
        name = name[:_MAX_NAME]
        unique, count = name, 0
        while unique in self._names:
            count += 1
            unique = f"{name}_{count}"
        self._names.add(unique)
        return unique

"""A module of several Relax functions, the bodies of branches and loops, as modules of one function each, and back.

A pass works on `main` alone. So each body is put through all of them as the `main` of a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import tvm
import tvm_ffi
from tvm import relax

from ...ir_types import GlobalVar, IRModule, Node
from .graph import MAIN


def split(module: IRModule) -> dict[str, IRModule]:
    """For each Relax function a module of which it is `main`, with the PrimFuncs that it calls; `main`'s own first."""
    names = {str(variable.name_hint): variable for variable in module.functions}
    bodies = [name for name, variable in names.items() if isinstance(module[variable], relax.Function)]
    if bodies == [MAIN]:
        return {MAIN: module}
    parts = {}
    for name in sorted(bodies, key=lambda each: (each != MAIN, each)):
        function = module[names[name]]
        called = _called(function)
        kernels = {variable: module[variable] for variable in module.functions if variable in called}
        main = tvm.ir.GlobalVar(MAIN)
        parts[name] = tvm.IRModule({main: function.with_attr("global_symbol", MAIN), **kernels}, attrs=module.attrs)
    return parts


def joined(parts: Mapping[str, IRModule]) -> IRModule:
    """One module of what `split` gave; kernels of the same name get others."""
    if list(parts) == [MAIN]:
        return parts[MAIN]
    functions: dict[GlobalVar, Node] = {}
    taken = set(parts)
    for name, part in parts.items():
        renamed: dict[str, GlobalVar] = {}
        for variable, function in part.functions.items():
            if isinstance(function, relax.Function):
                continue
            free = kernel = str(variable.name_hint)
            number = 0
            while free in taken:
                number += 1
                free = f"{kernel}_{number}"
            taken.add(free)
            renamed[kernel] = variable if free == kernel else _twin(variable, free)
            functions[renamed[kernel]] = function
        function = part[MAIN].with_attr("global_symbol", name)
        changed = {old for old, new in renamed.items() if str(new.name_hint) != old}
        if changed:
            function = _calling(function, renamed)
        functions[tvm.ir.GlobalVar(name)] = function
    return tvm.IRModule(functions, attrs=parts[MAIN].attrs)


def _twin(variable: GlobalVar, name: str) -> GlobalVar:
    twin = tvm.ir.GlobalVar(name)
    relax.expr._update_type(twin, variable.ty)
    return twin


def _called(function: Node) -> set[GlobalVar]:
    found: set[GlobalVar] = set()
    tvm_ffi.structural_walk(function, (tvm.ir.GlobalVar, found.add))
    return found


def _calling(function: Node, renamed: Mapping[str, GlobalVar]) -> Node:
    return tvm_ffi.structural_map(function, (tvm.ir.GlobalVar, lambda each: renamed.get(str(each.name_hint), each)))

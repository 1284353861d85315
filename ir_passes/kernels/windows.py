"""Kernels that read or write a window of a larger tensor, instead of a tensor of its own that would be copied."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import tvm
from tvm import relax, tirx

from ...annotations import CONCAT, SLICE, STOP
from ...ir_types import Buffer, GlobalVar, PrimFunc, Scalar, Type
from ..core.buffers import with_buffers
from ..core.graph import Expr, Var
from ..core.rewriter import dtype_of
from .kernel_graph import is_call_tir


@dataclass(frozen=True)
class Window:
    """Where a tensor lies in a larger one of `shape`: it begins at `starts` and is contiguous along every axis."""

    shape: tuple[int, ...]
    starts: tuple[int, ...]


# What is no tensor of its own: the tensor that it is a window of, and where.
Views = Mapping[Var, tuple[Expr, Window]]


class Specializations:
    """Kernels made from others of a module, each once."""

    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module
        self._made: dict[Hashable, GlobalVar] = {}
        self._names = {str(gvar.name_hint) for gvar in module.functions}

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._made)

    def get(
        self,
        gvar: GlobalVar,
        key: Hashable,
        make: Callable[[PrimFunc], PrimFunc],
        types: Sequence[Type | None],
        suffix: str = "",
    ) -> GlobalVar:
        """A kernel made from another.

        Args:
            gvar: the kernel.
            key: what tells those made from one kernel apart.
            make: makes the PrimFunc from the kernel's.
            types: of its parameters, None for those that stay.
            suffix: of its name.
        """
        whole_key = (str(gvar.name_hint), key)
        if whole_key not in self._made:
            function = make(self.module[gvar])
            name = f"{gvar.name_hint}{suffix}"
            while name in self._names:
                name += "_"
            self._names.add(name)
            twin = relax.GlobalVar(name)
            parameters = list(types)
            if None in types:
                parameters = [new or old for new, old in zip(types, gvar.ty.params, strict=True)]
            relax.expr._update_type(twin, relax.FuncType(parameters, gvar.ty.ret, gvar.ty.purity))
            self.module.update_func(twin, function)
            self._made[whole_key] = twin
        return self._made[whole_key]

    def with_windows(self, gvar: GlobalVar, windows: Mapping[int, Window], suffix: str = "") -> GlobalVar:
        """A kernel made from another, some of whose parameters are windows."""
        types = [
            relax.TensorType(windows[index].shape, str(old.dtype)) if index in windows else None
            for index, old in enumerate(gvar.ty.params)
        ]
        key = tuple(sorted((index, window.shape, window.starts) for index, window in windows.items()))
        return self.get(gvar, key, lambda function: with_windows(function, windows), types, suffix)


def through_windows(
    kernels: Specializations,
    value: Expr,
    views: Views,
    *,
    result: Window | None = None,
    into: Expr | None = None,
    suffix: str = "",
) -> Expr:
    """A value of `main` that reads windows instead of tensors, if it is a call of a kernel that reads such tensors.

    Args:
        kernels: where those that read windows are made.
        value: of a binding.
        views: the tensors that are windows.
        result: the window that the kernel's result is to be.
        into: the tensor that has this window; a new one if there is none.
        suffix: of the name of the kernel that is made.
    """
    if not is_call_tir(value) or not isinstance(value.args[1], relax.Tuple):
        return value
    operands: list[Expr] = []
    windows: dict[int, Window] = {}
    for index, operand in enumerate(value.args[1].fields):
        if isinstance(operand, relax.Var) and operand in views:
            operand, windows[index] = views[operand]
        operands.append(operand)
    if result is not None:
        windows[len(operands)] = result
    if not windows:
        return value
    twin = kernels.with_windows(value.args[0], windows, suffix)
    if result is None:
        arguments = [twin, relax.BlockBuilder().normalize(relax.Tuple(operands)), *list(value.args)[2:]]
        return tvm.ir.Call(value.op, arguments, value.attrs, list(value.ty_args), ret_ty=value.ty)
    ty = relax.TensorType(result.shape, dtype_of(value))
    if into is None:
        return relax.BlockBuilder().normalize(relax.call_tir(twin, relax.Tuple(operands), ty))
    inplace = relax.op.call_tir_inplace(twin, relax.Tuple([*operands, into]), [len(operands)], ty)
    return relax.BlockBuilder().normalize(inplace)


def with_windows(function: PrimFunc, windows: Mapping[int, Window]) -> PrimFunc:
    """A kernel some of whose parameters are windows of larger tensors.

    Args:
        function: a PrimFunc of blocks; what it reads and writes of a window stays inside.
        windows: by the index of the parameter.
    """
    parameters = list(function.params)
    twins: dict[Buffer, Buffer] = {}
    window_of: dict[Buffer, Window] = {}
    for index, window in windows.items():
        old = parameters[index]
        shape = [tirx.IntImm("int64", extent) for extent in window.shape]
        parameters[index] = twins[old] = tirx.decl_buffer(shape, str(old.dtype), str(old.name))
        window_of[old] = window

    def moved(buffer: Buffer, indices: Sequence[Scalar]) -> list[Scalar]:
        return [
            index + tirx.IntImm("int64", start) if start else index
            for index, start in zip(indices, window_of[buffer].starts, strict=True)
        ]

    body = with_buffers(function.body, twins, moved=moved)
    changed = tirx.PrimFunc(parameters, body, function.ret_type, function.attrs)
    for mark in (CONCAT, SLICE):  # what they say of the operands is no longer so
        if mark.of(changed) is not None:
            changed = changed.without_attr(mark.name)
    stop, result = STOP.of(changed), windows.get(len(parameters) - 1)
    if stop is not None and result is not None:  # it begins where the window does
        begins = [
            begin + result.starts[axis] if place == 1 else begin
            for first in range(0, len(stop), 5)
            for axis in stop[first : first + 1]
            for place, begin in enumerate(stop[first : first + 5])
        ]
        changed = STOP.on(changed, begins)
    return changed

"""Registering Relax operators of our own with TVM."""

from __future__ import annotations

from collections.abc import Callable

from tvm import relax
from tvm.ir import Op, _ffi_api, register_op_attr

from ...failures import remembered
from ...ir_types import Call, Expr, Node, Type


def register(
    name: str,
    description: str | None,
    infer_type: Callable[[Call, Node], Type],
    legalize: Callable[[relax.BlockBuilder, Call], Expr] | None = None,
) -> None:
    """Makes an operator known, unless another copy of the package in the process has done so.

    Args:
        name: as `relax.tilewright.attention`.
        infer_type: the type of a call.
        legalize: a call in other operators or kernels, for where no rule of ours takes it.
    """
    if name in Op.list_op_names():
        return
    _ffi_api.RegisterOp(name, description)
    register_op_attr(name, "FInferType", remembered(infer_type))
    register_op_attr(name, "FPurity", True)
    if legalize is not None:
        register_op_attr(name, "FLegalize", remembered(legalize))

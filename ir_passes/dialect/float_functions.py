"""Relax operators of our own: element-wise functions of floats that keep the digits that a formula in others loses.

relax.tilewright.expm1(x) = exp(x) - 1          relax.tilewright.softplus(x) = log(1 + exp(x))
relax.tilewright.log1p(x) = log(1 + x)          relax.tilewright.mish(x) = x * tanh(softplus(x))
"""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import relax
from tvm.ir import Op

from ...ir_types import Call, Expr, Node, Type
from .registration import register

NAMES = ("expm1", "log1p", "mish", "softplus")


def _operator(name: str) -> Callable[[Expr], Expr]:
    full_name = f"relax.tilewright.{name}"
    register(full_name, __doc__, _same_type)
    return lambda x: tvm.ir.Call(Op.get(full_name), [x])


def _same_type(call: Call, context: Node) -> Type:
    return relax.TensorType(call.args[0].ty.shape, call.args[0].ty.dtype)


expm1, log1p, mish, softplus = map(_operator, NAMES)

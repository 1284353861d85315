"""Hidden float operators and marks of operands as TVM's own arithmetic: TVM's default pipeline can compile kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
import tvm_ffi
from tilewright import hidden_floats as hidden
from tilewright.annotations import LHS, RHS
from tvm import tirx
from tvm.ir import Call

_PLAIN: dict[str, Callable[..., Any]] = {
    hidden.ADD: tirx.Add,
    hidden.SUBTRACT: tirx.Sub,
    hidden.MULTIPLY: tirx.Mul,
    hidden.DIVIDE: tirx.Div,
    hidden.MAXIMUM: tirx.Max,
    hidden.MINIMUM: tirx.Min,
    hidden.LARGER: tirx.Max,
    hidden.SMALLER: tirx.Min,
    hidden.EQUAL: tirx.EQ,
    hidden.LESS: tirx.LT,
    hidden.LESS_EQUAL: tirx.LE,
    hidden.IS_NAN: tirx.isnan,
    hidden.ADD_PRODUCT: lambda total, x, y: total + x * y,
    **{f"{hidden.PREFIX}{name}": getattr(tirx, name) for name in hidden.FUNCTIONS_OF_TVM},
    f"{hidden.PREFIX}silu": lambda x: x * tirx.sigmoid(x),
    LHS: lambda x: x,
    RHS: lambda x: x,
}


def shown(module: tvm.IRModule) -> tvm.IRModule:
    """A module whose kernels TVM can compile; their numbers are the same but for NaN and rounding."""

    def show(call: Any) -> Any:
        plain = _PLAIN.get(hidden.name_of(call))
        return call if plain is None else plain(*call.args)

    for variable, function in module.functions_items():
        if isinstance(function, tirx.PrimFunc):
            body = tvm_ffi.structural_map(function.body, (Call, show), order="post")
            module.update_func(variable, function.with_body(body))
    return module

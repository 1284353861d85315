"""What computes the same from the same is computed once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import array_of
from ..core.graph import Expr, Var
from ..core.rewriter import Rewriter, rewrite

_COMPARED_BYTES = 256  # constants up to this size are compared by value, larger ones by being the same object


@dataclass(frozen=True)
class Cse(GraphPass):
    """Common subexpression elimination over `main`.

    Two calls are the same when operator, attributes and operands are. Contract: the first of them stays, under its
    hint.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        seen: dict[Any, Var] = {}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            key = value_key(value)
            first = seen.get(key)
            if first is None:
                seen[key] = var
            return first

        return rewrite(module, visit, max_rounds=1)


def value_key(value: Expr) -> Any:
    """Equal for values that compute the same, as far as operands are the same variables."""
    if isinstance(value, tvm.ir.Call):
        attrs = tvm_ffi.StructuralKey(value.attrs) if value.attrs is not None else None
        types = tuple(str(ty) for ty in value.ty_args)
        return value.op, tuple(_operand_key(arg) for arg in value.args), attrs, types
    return "item", _operand_key(value.tuple_value), value.index


def _operand_key(expr: Expr) -> Any:
    if isinstance(expr, relax.Tuple):
        return tuple(_operand_key(field) for field in expr.fields)
    if isinstance(expr, relax.Var | relax.GlobalVar):
        return expr
    array = array_of(expr)
    if array is not None:
        return (str(array.dtype), array.shape, array.tobytes()) if array.nbytes <= _COMPARED_BYTES else expr
    return tvm_ffi.StructuralKey(expr)

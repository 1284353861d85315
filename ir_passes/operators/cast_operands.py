"""Multiply in fewer bits: operands of contractions are cast, sums stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant, numpy_dtype
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rebuild, rewrite
from ..core.sources import split
from ..dialect.attention import is_attention
from .linear import PRODUCTS


def _always(call: Expr) -> bool:
    return True


@dataclass(frozen=True)
class CastOperands(GraphPass):
    """Products of float32 -> products of operands cast to `dtype`, with results in float32.

    Contract: types of results are the same; what is multiplied is rounded once, and nothing else is.

    Options:
        dtype: ``bfloat16``.
        gains: whether a call is to be computed so, given as it would be then.
        layers: the names of the nodes whose products are; None: all.
    """

    dtype: str = "bfloat16"
    gains: Callable[[Expr], bool] = _always
    layers: frozenset[str] | None = None

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        casts: dict[Expr, Expr] = {}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            operands = list(value.args[: multiplied(value)]) if multiplied(value) else []
            if self.layers is not None and self.layers.isdisjoint(split(var.name)):
                return None
            if not operands or any(dtype_of(each) != "float32" for each in operands):
                return None
            narrow = [relax.Var("operand", relax.TensorType(each.ty.shape, self.dtype)) for each in operands]
            if not self.gains(rewriter.normalize(_with_operands(value, narrow))):
                return None
            for each in operands:
                if each not in casts:
                    casts[each] = self._cast(rewriter, each, var)
            return rewriter.emit(_with_operands(value, [casts[each] for each in operands]), var.name)

        return rewrite(module, visit, max_rounds=1)

    def _cast(self, rewriter: Rewriter, operand: Expr, reader: Var) -> Expr:
        array = array_of(operand)
        if array is None:
            return rewriter.emit(relax.op.astype(operand, self.dtype), reader.name)
        with np.errstate(over="ignore"):
            return constant(array.astype(numpy_dtype(self.dtype)))


def multiplied(value: Expr) -> int:
    """How many of a call's arguments, the first ones, are multiplied with each other; 0 for another expression."""
    if calls(value, *PRODUCTS):
        return 2
    return 3 if is_attention(value) else 0


def _with_operands(value: Expr, operands: list[Expr]) -> Expr:
    arguments = [*operands, *value.args[len(operands) :]]
    if multiplied(value) == 2:
        return rebuild(value, arguments, out_dtype=dtype_of(value))
    return tvm.ir.Call(value.op, arguments, value.attrs)

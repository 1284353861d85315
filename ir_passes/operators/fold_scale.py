"""A scale on attention's scores, or on what leads to a product, goes into the constant weights it can be moved to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls, is_float, only_use, scalar_factor, split_constant
from ..core.rewriter import Rewriter, dtype_of, rebuild, rewrite
from ..core.sources import is_named
from .linear import find_linear

_MOVES = ("reshape", "permute_dims", "expand_dims", "squeeze", "strided_slice")
_MAX_STEPS = 8


@dataclass(frozen=True)
class FoldScale(GraphPass):
    """Move multiplications by a scalar back through products, biases, reshapes and transposes into constant weights.

    `(q k) * s` is the scaled score of attention: s goes into the weights and the bias that q (or else k) is made with,
    so that nothing is left of it at run time. It moves only past values that nothing else reads; a scale that reaches
    no constant weights stays where it was. Contract: outputs change by rounding alone.

    Options:
        keep: names of nodes whose results must stay as the model has them, for scales of integers are known of those.
    """

    keep: frozenset[str] = frozenset()

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            found = scalar_factor(value) if is_float(value) else None
            if found is None:
                return None
            make = _scaled(rewriter, found[0], found[1], _MAX_STEPS, self.keep)
            return make(var.name) if make is not None else None

        return rewrite(module, visit)


def _scaled(
    rewriter: Rewriter, expr: Expr, scale: float, steps: int, keep: frozenset[str]
) -> Callable[[str], Expr] | None:
    """What makes `scale * expr` at no cost, given the hint of the scale; None if nothing does."""
    value: Call = rewriter.definition(expr)
    if steps == 0 or value is None or not only_use(rewriter, expr) or not isinstance(expr, relax.Var):
        return None
    if is_named(expr, keep):
        return None

    def rebuilt(*args: Callable[[str], Expr] | Expr) -> Callable[[str], Expr]:
        def make(hint: str) -> Expr:
            new = [arg(hint) if callable(arg) and not isinstance(arg, tvm.ir.Expr) else arg for arg in args]
            return rewriter.emit(rebuild(value, new), expr.name, hint)

        return make

    linear = find_linear(value)
    if linear is not None:
        scaled = linear.with_weights(linear.weights.astype(np.float64) * scale)
        return (lambda hint: rewriter.emit(scaled, expr.name, hint)) if scaled is not None else None
    if calls(value, *_MOVES):
        inner = _scaled(rewriter, value.args[0], scale, steps - 1, keep)
        return rebuilt(inner, *list(value.args)[1:]) if inner is not None else None
    if dtype_of(value) not in ("float32", "float64"):
        return None  # half precisions: what comes between may leave their range
    if calls(value, "add"):
        parts = split_constant(value)
        inner = _scaled(rewriter, parts[0], scale, steps - 1, keep) if parts is not None else None
        bias = _rounded(array_of(parts[1]), scale) if parts is not None else None
        return rebuilt(inner, constant(bias)) if inner is not None and bias is not None else None
    if calls(value, "matmul"):
        left = _scaled(rewriter, value.args[0], scale, steps - 1, keep)
        if left is not None:
            return rebuilt(left, value.args[1])
        right = _scaled(rewriter, value.args[1], scale, steps - 1, keep)
        return rebuilt(value.args[0], right) if right is not None else None
    return None


def _rounded(array: Array | None, scale: float) -> Array | None:
    """`scale * array` in the array's dtype, or None where that leaves its range."""
    if array is None:
        return None
    with np.errstate(all="ignore"):
        result = np.asarray(array.astype(np.float64) * scale).astype(array.dtype)
    return result if np.isfinite(result).all() else None

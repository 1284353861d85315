"""How large the integers of an expression can be: what is exact in int32, and what would wrap."""

from __future__ import annotations

import numpy as np

from ..core.constants import Array, array_of
from ..core.graph import Expr
from ..core.match import calls, made_by
from ..core.rewriter import Rewriter, dtype_of
from ..operators.linear import PRODUCTS
from .quantized_values import MOVES

_LIMIT = 2**31
# How many operators are looked through; what is behind more may be anything of its dtype.
_DEPTH = 8


def fits(*reaches: int) -> bool:
    """Whether the sum of integers of such magnitudes is one of int32."""
    return sum(reaches) < _LIMIT


def reach(rewriter: Rewriter, expr: Expr, depth: int = _DEPTH) -> int:
    """A bound on the magnitude of integers; that of their dtype where nothing is known of them."""
    known = array_of(expr)
    if known is not None:
        return largest(known)
    limits = np.iinfo(dtype_of(expr))
    bound = max(int(limits.max), -int(limits.min))
    made = made_by(rewriter, expr, "astype", "add", "subtract", *PRODUCTS, *MOVES)
    if made is None or not depth or limits.bits <= 8:
        return bound
    operands = list(made.args)
    if calls(made, "add", "subtract"):
        return min(bound, sum(reach(rewriter, each, depth - 1) for each in operands))
    if "int" not in dtype_of(operands[0]):
        return bound
    factor = 1
    if calls(made, *PRODUCTS):
        weights = array_of(operands[1])
        if weights is None:
            return bound
        factor = largest_column(weights, is_matrix=calls(made, "matmul"))
    return min(bound, factor * reach(rewriter, operands[0], depth - 1))


def largest_column(weights: Array, *, is_matrix: bool) -> int:
    """The largest sum of magnitudes of what makes one column: of a matrix (in, out), or of filters (out, ...)."""
    magnitudes = np.abs(weights.astype(np.int64))
    axes = (-2,) if is_matrix and weights.ndim > 1 else tuple(range(0 if is_matrix else 1, weights.ndim))
    return int(magnitudes.sum(axes).max(initial=0))


def largest(integers: Array) -> int:
    """The largest magnitude."""
    return int(np.abs(integers.astype(np.int64)).max(initial=0))

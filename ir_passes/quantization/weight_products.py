"""Products of floats with dequantized constants become products with weights of a few bits, which stay as they are."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tvm

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, constant
from ..core.graph import Expr, Var
from ..core.match import calls, made_by
from ..core.rewriter import Rewriter, dtype_of, rewrite
from ..dialect.weight_product import can_store, weight_product
from .quantized_values import MOVES, as_array, dequantized, moved_array, size_of

_BYTE = 256


def _always(call: Expr) -> bool:
    return True


@dataclass(frozen=True)
class _Weights:
    """A matrix (depth, columns) of integers, and scales and zero points of blocks of its rows."""

    integers: Array
    scale: Array
    zero: Array
    bits: int
    block: int


@dataclass(frozen=True)
class WeightProducts(GraphPass):
    """matmul(x, dequantize(constant)) -> weight_product, for floats x and a scale for each column or block of rows.

    What is dequantized may be reshaped and transposed before it is multiplied. A product whose left operand is
    dequantized is left to `integer_products`.

    Contract: types of results are the same; terms are those of the product that was there, but where one scale is for
    all of a column it is multiplied with the sum.

    Options:
        gains: whether a product is faster with such weights than with floats, given as it would be then.
    """

    gains: Callable[[Expr], bool] = _always

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            if not calls(value, "matmul") or dtype_of(value) != "float32" or dtype_of(value.args[0]) != "float32":
                return None
            x, right = value.args
            if right.ty.ndim != 2 or x.ty.ndim < 2 or not size_of(x) or _is_quantized(rewriter, x):
                return None
            found = _weights(rewriter, right)
            if found is None:
                return None
            arrays = map(constant, (found.integers, found.scale, found.zero))
            product = weight_product(x, *arrays, bits=found.bits, block=found.block)
            if not self.gains(rewriter.normalize(product)):
                return None
            return rewriter.emit(product, rewriter.hint(var, value, x))

        return rewrite(module, visit, max_rounds=1)


def _is_quantized(rewriter: Rewriter, x: Expr) -> bool:
    """Whether the left operand is integers that are dequantized, and perhaps moved."""
    while dequantized(rewriter, x) is None:
        move = made_by(rewriter, x, *MOVES)
        if move is None:
            return False
        x = move.args[0]
    return True


def _weights(rewriter: Rewriter, expr: Expr) -> _Weights | None:
    moves: list[Call] = []
    found = dequantized(rewriter, expr)
    while found is None:
        move = made_by(rewriter, expr, "reshape", "permute_dims", "expand_dims", "squeeze")
        if move is None:
            return None
        moves.append(move)
        expr = move.args[0]
        found = dequantized(rewriter, expr)
    rank = found.integers.ty.ndim
    integers, scale, zero = (as_array(each, rank) for each in (found.integers, found.scale, found.zero_point))
    if integers is None or scale is None or zero is None:
        return None
    if integers.dtype.itemsize > 1 or scale.dtype != np.float32 or found.dtype != "float32":
        return None
    parts = [integers, np.broadcast_to(scale, integers.shape), np.broadcast_to(zero.astype(np.int32), integers.shape)]
    for move in reversed(moves):
        parts = [array for each in parts if (array := moved_array(move, each)) is not None]
    integers, scale, zero = parts
    bits, lowest = _bits(integers)
    block = _block(scale, zero)
    if not integers.size or not can_store(bits, block, len(integers)):
        return None
    scale, zero = scale[::block], zero[::block]
    if (zero < lowest).any() or (zero >= lowest + _BYTE).any():
        return None
    return _Weights(np.ascontiguousarray(integers), scale, zero, bits, block)


def _bits(integers: Array) -> tuple[int, int]:
    """How many bits hold integers, and the lowest zero point that a byte holds beside them."""
    half = 8 if integers.dtype.kind == "i" else 0
    narrow = bool(((integers >= -half) & (integers < 16 - half)).all())
    return (4, -half) if narrow else (8, -16 * half)


def _block(scale: Array, zero: Array) -> int:
    """The rows that share a scale and a zero point, all of them where there is one of each."""
    changes = ((scale[1:] != scale[:-1]) | (zero[1:] != zero[:-1])).any(1)
    return math.gcd(*(int(each) + 1 for each in np.flatnonzero(changes))) or len(scale)

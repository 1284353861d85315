"""Products of two quantized activations, those of attention too: sums of integers less what zero points add to them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax

from ...ir_types import Call
from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rebuild, shape_of
from ..dialect.attention import attention
from ..dialect.quantize import dequantize
from .factors import LARGEST, Factor, factor_of, with_dtype
from .quantized_values import integer, size_of
from .reach import fits

# Of the second operand, on every target.
_SECOND = "int8"


def product_of_activations(rewriter: Rewriter, var: Var, value: Expr, left: Factor, dtype: str) -> Expr | None:
    """matmul of integers less zero points, each of them one for all of its operand.

    sum (q - z) (p - y) = sum q p - z sum p - y sum (q - z): sums of columns and of rows, in int32 as the products.

    Args:
        value: a product.
        left: its first operand.
        dtype: that this is to have.
    """
    shapes = [shape_of(each) for each in value.args]
    right = factor_of(rewriter, value.args[1], rows=False) if calls(value, "matmul") else None
    if right is None or any(shape is None or len(shape) < 2 for shape in shapes):
        return None
    if (left.scale is None) != (right.scale is None) or not fits(LARGEST * LARGEST * int(value.args[0].ty.shape[-1])):
        return None
    left, right = with_dtype(rewriter, left, dtype, var.name), with_dtype(rewriter, right, _SECOND, var.name)
    sums = rewriter.emit(rebuild(value, [left.integers, right.integers], out_dtype="int32"), var.name)
    if not left.is_symmetric:
        columns = _sums(rewriter, right.integers, -2, var)
        sums = rewriter.emit(relax.op.subtract(sums, _times(rewriter, columns, left.zero, var)), var.name)
    if not right.is_symmetric:
        wide = rewriter.emit(relax.op.astype(left.integers, "int32"), var.name)
        rows = rewriter.emit(relax.op.subtract(wide, _as_expr(left.zero)), var.name)
        of_rows = _sums(rewriter, rows, -1, var)
        sums = rewriter.emit(relax.op.subtract(sums, _times(rewriter, of_rows, right.zero, var)), var.name)
    if left.scale is None or right.scale is None:
        return sums
    return dequantize(sums, _product(rewriter, left.scale, right.scale, var), integer(0), dtype_of(value))


def attention_of_integers(
    rewriter: Rewriter, var: Var, value: Call, dtype: str, gains: Callable[[Expr], bool]
) -> Expr | None:
    """Attention whose queries and keys are dequantized -> attention of those integers, where that gains.

    Keys have the zero point 0 in int8; what that of the queries adds to a sum is a mask of int32, one for each key.

    Args:
        dtype: that queries are to have.
        gains: given the call as it would be.
    """
    q, k, *others = value.args
    left, right = factor_of(rewriter, q, rows=False), factor_of(rewriter, k, rows=False)
    if left is None or right is None or left.scale is None or right.scale is None:
        return None
    scales = [array_of(each.scale) for each in (left, right) if each.scale is not None]
    if any(scale is None for scale in scales) or not fits(LARGEST * LARGEST * int(q.ty.shape[-1])):
        return None
    left, right = with_dtype(rewriter, left, dtype, var.name), with_dtype(rewriter, right, _SECOND, var.name)
    if not right.is_symmetric or not isinstance(left.zero, int):
        return None
    scale = float(value.attrs["scale"])
    for each in scales:
        scale *= float(np.asarray(each).reshape(()))

    def attended(*operands: Expr) -> Expr:
        nan_is_zero = bool(int(value.attrs["nan_is_zero"]))
        return attention(operands, scale=float(np.float32(scale)), nan_is_zero=nan_is_zero)

    values, *masks = others
    if not gains(rewriter.normalize(attended(left.integers, right.integers, values, *masks))):
        return None
    of_keys = [] if left.is_symmetric else [_of_keys(rewriter, right.integers, left.zero, int(q.ty.shape[2]), var)]
    return attended(left.integers, right.integers, values, *of_keys, *masks)


def _of_keys(rewriter: Rewriter, keys: Expr, zero: int, heads: int, var: Var) -> Expr:
    """What is added to the sums of each key (batch, keys, own heads, depth), as a mask (batch, heads, 1, keys)."""
    sums = rewriter.emit(relax.op.permute_dims(_sums(rewriter, keys, -1, var), (0, 2, 3, 1)), var.name)
    added = rewriter.emit(relax.op.multiply(sums, integer(-zero)), var.name)
    groups = heads // int(keys.ty.shape[2])
    return rewriter.emit(relax.op.repeat(added, groups, 1), var.name) if groups > 1 else added


def _sums(rewriter: Rewriter, integers: Expr, axis: int, var: Var) -> Expr:
    wide = integers if dtype_of(integers) == "int32" else rewriter.emit(relax.op.astype(integers, "int32"), var.name)
    return rewriter.emit(relax.op.sum(wide, axis, keepdims=True), var.name)


def _times(rewriter: Rewriter, sums: Expr, zero: int | Expr, var: Var) -> Expr:
    return rewriter.emit(relax.op.multiply(sums, _as_expr(zero)), var.name)


def _as_expr(zero: int | Expr) -> Expr:
    return integer(zero) if isinstance(zero, int) else zero


def _product(rewriter: Rewriter, left: Expr, right: Expr, var: Var) -> Expr:
    """Of two scales, in float32."""
    one, other = array_of(left), array_of(right)
    if one is None or other is None:
        return rewriter.emit(relax.op.multiply(left, right), var.name)
    product = one * other.reshape(())
    return constant(product.reshape(()) if size_of(left) == 1 else product)

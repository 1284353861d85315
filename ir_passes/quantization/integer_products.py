"""Products of dequantized tensors, and of integers less their zero points, become products of 8-bit integers."""

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
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rebuild, rewrite
from ..dialect.attention import is_attention
from ..dialect.quantize import dequantize
from ..operators.linear import CONVOLUTIONS
from .activation_products import attention_of_integers, product_of_activations
from .factors import LARGEST, Factor, factor_of, with_dtype
from .quantized_values import SHIFT, as_array, dequantized, integer
from .reach import fits, largest_column

PRODUCTS = ("matmul", *CONVOLUTIONS)


def _never(call: Expr) -> bool:
    return False


@dataclass(frozen=True)
class _Right:
    """A constant of int8, and the scale of each column, if floats are multiplied."""

    integers: Array
    scale: Array | None


@dataclass(frozen=True)
class IntegerProducts(GraphPass):
    """Products of quantized tensors -> products of `dtype` and int8 with sums in int32, and a dequantize behind them.

    With q and z of the left operand, w of the right one: sum (q - z) w = sum q w - z sum w, and the second term is a
    constant of each column. A convolution pads with z, unless that is 0; a depthwise one, which leaves padding out,
    multiplies q - z. Floats are multiplied by both scales after the sum. Matrices that are no constants, or whose
    weights need nine bits, are multiplied so, too (`activation_products.py`).

    Contract: types of results are the same; sums of integers are exact where floats would round, and where they could
    be beyond int32 they stay floats.

    Options:
        dtype: of the first operand, ``uint8`` or ``int8``.
        attends: whether attention is faster with quantized queries and keys as integers; given as it would be.
    """

    dtype: str = "uint8"
    attends: Callable[[Expr], bool] = _never

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            if is_attention(value):
                return attention_of_integers(rewriter, var, value, self.dtype, self.attends)
            if not calls(value, *PRODUCTS) or dtype_of(value) not in ("float32", "int32"):
                return None
            left = factor_of(rewriter, value.args[0], rows=calls(value, "matmul"))
            if left is None:
                return None
            right = _right(rewriter, value)
            if right is None:
                return product_of_activations(rewriter, var, value, left, self.dtype)
            return self._integers(rewriter, var, value, left, right)

        return rewrite(module, visit, max_rounds=1)

    def _integers(self, rewriter: Rewriter, var: Var, value: Call, left: Factor, right: _Right) -> Expr | None:
        weights, padding = constant(right.integers), _padding(value)
        if (left.scale is None) != (right.scale is None) or (any(padding) and not isinstance(left.zero, int)):
            return None
        left = with_dtype(rewriter, left, self.dtype, var.name)
        data, zero = left.integers, left.zero
        if any(padding) and zero != 0 and _is_depthwise(value):  # no products with padding are computed
            wide = rewriter.emit(relax.op.astype(data, "int32"), var.name)
            data, zero = rewriter.emit(relax.op.subtract(wide, integer(zero)), var.name), 0
        elif any(padding) and zero != 0:
            rank = len(padding) // 2
            widths = [(0, 0), *zip(padding[:rank], padding[rank:], strict=True), (0, 0)]
            data = rewriter.emit(
                relax.op.nn.pad(data, [side for pair in widths for side in pair], pad_value=float(zero)), var.name
            )
            padding = [0] * len(padding)
        sums = rewriter.emit(product_of(value, data, weights, padding), var.name)
        sums = rewriter.emit(_less(sums, zero, _column_sums(value, right.integers), rewriter, var), var.name)
        if left.scale is None:
            return sums
        return dequantize(sums, _scales(rewriter, var, left.scale, right.scale), integer(0), dtype_of(value))


def _right(rewriter: Rewriter, value: Call) -> _Right | None:
    """The right operand if it is a constant whose integers fit int8, and whose scales are those of columns."""
    expr = value.args[1]
    scale = None
    found = dequantized(rewriter, expr)
    if found is None:
        wide = array_of(expr)
        if wide is None or wide.dtype != np.int32:
            return None
    else:
        rank = len(found.integers.ty.shape)
        integers, scale, zero = (as_array(each, rank) for each in (found.integers, found.scale, found.zero_point))
        if integers is None or scale is None or zero is None or integers.dtype.itemsize > 1 or found.dtype != "float32":
            return None
        wide = integers.astype(np.int32) - zero.astype(np.int32)
        if scale.size > 1 and scale.shape[column_axis(value)] != scale.size:
            return None
        scale = scale.reshape(-1 if scale.size > 1 else ())
    if wide.size == 0 or wide.min() < -SHIFT or wide.max() >= SHIFT or (calls(value, "matmul") and wide.ndim != 2):
        return None
    if scale is not None and not fits(LARGEST * largest_column(wide, is_matrix=calls(value, "matmul"))):
        return None
    return _Right(wide.astype(np.int8), scale)


def column_axis(value: Call) -> int:
    """The axis of weights (O, *kernel, I), or of a matrix, that has the columns of the product."""
    return -1 if calls(value, "matmul") else 0


def _padding(value: Call) -> list[int]:
    return [] if calls(value, "matmul") else [int(each) for each in value.attrs.padding]


def _is_depthwise(value: Call) -> bool:
    filters = [int(extent) for extent in value.args[1].ty.shape]
    return int(value.attrs.groups) == filters[0] and filters[-1] == 1


def product_of(value: Call, left: Expr, right: Expr, padding: list[int] | None = None) -> Call:
    """The same product or convolution of other operands, which are integers, with sums in int32."""
    padding = _padding(value) if padding is None else padding
    if calls(value, "matmul"):
        return rebuild(value, [left, right], out_dtype="int32")
    return rebuild(value, [left, right], out_dtype="int32", padding=padding)


def _column_sums(value: Call, weights: Array) -> Array:
    axes = (0,) if calls(value, "matmul") else tuple(range(1, weights.ndim))
    return np.asarray(weights.sum(axes, dtype=np.int64))


def _less(sums: Expr, zero: int | Expr, columns: Array, rewriter: Rewriter, var: Var) -> Expr:
    if isinstance(zero, int):
        wrapped = (-zero * columns).astype(np.int32)
        return relax.op.add(sums, constant(wrapped)) if wrapped.any() else sums
    product = rewriter.emit(relax.op.multiply(zero, constant(columns.astype(np.int32))), var.name)
    return relax.op.subtract(sums, product)


def _scales(rewriter: Rewriter, var: Var, left: Expr, right: Array | None) -> Expr:
    known = array_of(left)
    assert right is not None
    if known is None or known.size > 1:
        return rewriter.emit(relax.op.multiply(left, constant(right)), var.name)
    return constant(known.reshape(-1)[0] * right)

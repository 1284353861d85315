"""Means of dequantized tensors become sums of their integers, and a dequantize behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ..core.base import GraphPass, PassResult
from ..core.constants import array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from ..dialect.quantize import dequantize
from .quantized_values import dequantized, integer, whole
from .reach import fits

_LARGEST = 255


@dataclass(frozen=True)
class IntegerMeans(GraphPass):
    """mean(dequantize(q, s, z)) -> dequantize(sum(q) - n z, s / n, 0), of n elements, summed in int32.

    What is averaged is then read in 8 bits, where floats would have to be stored. For tensors with one scale.

    Contract: types of results are the same; sums of integers are exact where floats would round.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit, max_rounds=1)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "mean") or value.attrs.axis is None:
        return None
    found, shape = dequantized(rewriter, value.args[0]), shape_of(value.args[0])
    if found is None or shape is None or not found.is_uniform or found.dtype != "float32":
        return None
    scale, zero = array_of(found.scale), whole(found.zero_point)
    count = math.prod(shape[int(axis)] for axis in value.attrs.axis)
    narrow = dtype_of(found.integers) in ("uint8", "int8")
    if scale is None or zero is None or not narrow or not fits(_LARGEST * count) or not fits(count * abs(zero)):
        return None
    wide = rewriter.emit(relax.op.astype(found.integers, "int32"), var.name)
    sums = rewriter.emit(relax.op.sum(wide, value.attrs.axis, bool(value.attrs.keepdims)), var.name)
    if zero:
        sums = rewriter.emit(relax.op.subtract(sums, integer(count * zero)), var.name)
    factor = np.asarray(scale.reshape(()) / np.float32(count), np.float32)
    return dequantize(sums, constant(factor), integer(0), "float32")

"""Quantized activations are uint8: units that multiply integers take one operand without a sign and one with it."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rewrite
from ..dialect.quantize import QUANTIZE, REQUANTIZE, dequantize, quantize, range_of, requantize
from .quantized_values import SHIFT, dequantized, integer, is_move, moved, shifted, unshifted, whole

_MAKES = {QUANTIZE: quantize, REQUANTIZE: requantize}


@dataclass(frozen=True)
class UnsignedActivations(GraphPass):
    """What is quantized to int8 is quantized to uint8 with 128 more, and made int8 where it is not dequantized.

    Contract: outputs keep values, dtypes and shapes; integers stand for the same floats.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if calls(value, *(name.removeprefix("relax.") for name in _MAKES)) and range_of(value)[0] == "int8":
        return _quantized(rewriter, var, value)
    if is_move(value) and dtype_of(value) == "int8":
        before = unshifted(rewriter, value.args[0])
        if before is not None:
            return shifted(rewriter, rewriter.emit(moved(value, before), var.name), var.name)
    return _dequantized(rewriter, var, value)


def _quantized(rewriter: Rewriter, var: Var, value: Call) -> Expr:
    x, scale, zero = value.args
    _, low, high = range_of(value)
    zero = _with_shift(rewriter, zero, var)
    new = _MAKES[value.op.name](x, scale, zero, "uint8", low + SHIFT, high + SHIFT)
    return shifted(rewriter, rewriter.emit(new, var.name), var.name)


def _dequantized(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    found = dequantized(rewriter, value)
    if found is None:
        return None
    before = unshifted(rewriter, found.integers)
    if before is None:
        return None
    return rewriter.emit(
        dequantize(before, found.scale, _with_shift(rewriter, found.zero_point, var), found.dtype), var.name
    )


def _with_shift(rewriter: Rewriter, zero: Expr, var: Var) -> Expr:
    number = whole(zero)
    if number is not None:
        return integer(number + SHIFT)
    wide = zero if dtype_of(zero) == "int32" else rewriter.emit(relax.op.astype(zero, "int32"), var.name)
    return rewriter.emit(relax.op.add(wide, integer(SHIFT)), var.name)

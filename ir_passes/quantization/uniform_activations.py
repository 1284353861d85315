"""Quantized activations are all of one dtype of 8 bits: the one that the units of the target multiply by int8."""

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
from .quantized_values import SHIFTS, before_shift, dequantized, integer, is_move, moved, shifted, whole

_MAKES = {QUANTIZE: quantize, REQUANTIZE: requantize}


@dataclass(frozen=True)
class UniformActivations(GraphPass):
    """What is quantized to the other dtype of 8 bits is quantized to `dtype`, and made the other one where it is used.

    int8 becomes uint8 by 128 more, uint8 becomes int8 by 128 less.

    Contract: outputs keep values, dtypes and shapes; integers stand for the same floats.

    Options:
        dtype: ``uint8`` or ``int8``.
    """

    dtype: str = "uint8"

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        other = next(each for each in SHIFTS if each != self.dtype)

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            made = calls(value, *(name.removeprefix("relax.") for name in _MAKES))
            if made and range_of(value)[0] == other:
                return self._quantized(rewriter, var, value, other)
            if is_move(value) and dtype_of(value) == other:
                before = before_shift(rewriter, value.args[0], self.dtype)
                if before is not None:
                    return shifted(rewriter, rewriter.emit(moved(value, before), var.name), var.name)
            return self._dequantized(rewriter, var, value)

        return rewrite(module, visit)

    def _quantized(self, rewriter: Rewriter, var: Var, value: Call, other: str) -> Expr:
        x, scale, zero = value.args
        _, low, high = range_of(value)
        shift = SHIFTS[self.dtype]
        zero = self._with_shift(rewriter, zero, var)
        new = _MAKES[value.op.name](x, scale, zero, self.dtype, low + shift, high + shift)
        return shifted(rewriter, rewriter.emit(new, var.name), var.name)

    def _dequantized(self, rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
        found = dequantized(rewriter, value)
        if found is None:
            return None
        before = before_shift(rewriter, found.integers, self.dtype)
        if before is None:
            return None
        zero = self._with_shift(rewriter, found.zero_point, var)
        return rewriter.emit(dequantize(before, found.scale, zero, found.dtype), var.name)

    def _with_shift(self, rewriter: Rewriter, zero: Expr, var: Var) -> Expr:
        shift, number = SHIFTS[self.dtype], whole(zero)
        if number is not None:
            return integer(number + shift)
        wide = zero if dtype_of(zero) == "int32" else rewriter.emit(relax.op.astype(zero, "int32"), var.name)
        return rewriter.emit(relax.op.add(wide, integer(shift)), var.name)

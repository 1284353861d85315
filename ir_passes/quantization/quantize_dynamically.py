"""Dense layers multiply integers whose scales are settled when the model runs: each row of activations has its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, rewrite
from ..core.sources import split
from ..dialect.quantize import dequantize, quantize
from ..dialect.quantized_arithmetic import LARGEST_OF_ROW, ROW_STEP
from .quantize_weights import FEWEST_WEIGHTS, is_product, weight_pair, why_float
from .quantized_values import SHIFT, integer


def _always(call: Expr) -> bool:
    return True


@dataclass(frozen=True)
class QuantizeDynamically(GraphPass):
    """matmul(x, constant) -> matmul(dequantize(quantize(x)), dequantize(constant)), of float32.

    The scale of a row is its largest magnitude over 127, and its zero point 128: integers are those of int8 from -127
    on, stored as uint8. Weights are int8 with a scale for each column. A row of zeros is zeros again, and one with
    infinity or NaN has no number in its results.

    Contract: types of results are the same; what several products read is quantized once.

    Options:
        gains: whether a product of integers is faster than one of floats, quantizing x included; given as it would be.
        layers: the products to quantize, by the names of their nodes; None: all that have more than a few weights.
        tell: is told, of each of them, why it stays float; "" where it does not.
    """

    gains: Callable[[Expr], bool] = _always
    layers: Sequence[str] | None = None
    tell: Callable[[str, str], None] = lambda layer, kept_float: None

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        pairs: dict[Expr, Expr] = {}

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            name = self._asked(var, value)
            if name is None:
                return None
            weights = array_of(value.args[1]) if calls(value, "matmul") else None
            reason = why_float(value, weights)
            if weights is not None and not reason and not self.gains(rewriter.normalize(_product(value, weights))):
                reason = "floats are faster for it"
            self.tell(name, reason)
            if weights is None or reason:
                return None
            x = value.args[0]
            if x not in pairs:
                pairs[x] = _quantized_rows(rewriter, x, var)
            right = rewriter.emit(weight_pair(weights, 8, len(weights)), var.name)
            return rewriter.emit(relax.op.matmul(pairs[x], right), var.name)

        return rewrite(module, visit, max_rounds=1)

    def _asked(self, var: Var, value: Expr) -> str | None:
        """The name of a layer that is to be quantized."""
        if self.layers is None:
            known = array_of(value.args[1]) if calls(value, "matmul") else None
            return str(var.name) if known is not None and known.size >= FEWEST_WEIGHTS else None
        return next((each for each in split(var.name) if each in self.layers), None) if is_product(value) else None


def _product(value: Call, weights: Array) -> Expr:
    """The product that it would be."""
    operands = [
        relax.Var("integers", relax.TensorType(shape, dtype))
        for shape, dtype in ((value.args[0].ty.shape, "uint8"), (weights.shape, "int8"))
    ]
    return relax.op.matmul(*operands, "int32")


def _quantized_rows(rewriter: Rewriter, x: Expr, var: Var) -> Expr:
    """x by way of integers of 8 bits, a scale for each row."""
    largest = rewriter.emit(relax.op.max(rewriter.emit(relax.op.abs(x), var.name), -1, keepdims=True), var.name)
    scale = rewriter.emit(relax.op.multiply(largest, constant(np.asarray(ROW_STEP))), var.name)
    zero = integer(SHIFT)
    integers = quantize(x, scale, zero, "uint8", SHIFT - LARGEST_OF_ROW, SHIFT + LARGEST_OF_ROW)
    return rewriter.emit(dequantize(rewriter.emit(integers, var.name), scale, zero), var.name)

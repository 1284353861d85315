"""Quantize, dequantize and requantize, an element at a time: `quantized_arithmetic.py`, in instructions for vectors.

Both are operators until the last step of lowering, as some targets compute it in their own way.
"""

from __future__ import annotations

from tvm import relax, tirx

from ... import hidden_floats as hidden
from ...ir_passes.dialect.quantize import DEQUANTIZE, QUANTIZE, REQUANTIZE, range_of
from ...ir_types import Scalar
from ..tensorir.round_within import rounded_within
from .elementwise import Element, emit_elementwise

OPERATORS = (QUANTIZE, DEQUANTIZE, REQUANTIZE)


def lower_quantization(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers one of `OPERATORS`."""
    name = str(call.op.name)
    element = _ELEMENTS[name](call)
    return emit_elementwise(builder, call, list(call.args), element, name.rpartition(".")[2])


def _quantized(call: relax.Call) -> Element:
    """The integer that a quotient is rounded to, within range: of NaN some integer of the dtype."""
    dtype, low, high = range_of(call)

    def element(x: Scalar, scale: Scalar, zero_point: Scalar) -> Scalar:
        zero = _cast(zero_point, "int32")
        if hidden.dtype_of(x) == "float32":
            ends = (tirx.const(end, "int32") for end in (low, high))
            return _cast(hidden.call(hidden.QUANTIZE, x, _cast(scale, "float32"), zero, *ends), dtype)
        quotient = _cast(hidden.divide(x, _cast(scale, hidden.dtype_of(x))), "float32")
        return _cast(rounded_within(quotient, zero, low, high), dtype)

    return element


def _requantized(call: relax.Call) -> Element:
    """The integer that a product with the multiplier is rounded to, within range."""
    dtype, low, high = range_of(call)

    def element(sums: Scalar, multiplier: Scalar, zero_point: Scalar) -> Scalar:
        ends = (tirx.const(end, "int32") for end in (low, high))
        operands = (_cast(sums, "int32"), _cast(multiplier, "float32"), _cast(zero_point, "int32"))
        return _cast(hidden.call(hidden.REQUANTIZE, *operands, *ends), dtype)

    return element


def _dequantized(call: relax.Call) -> Element:
    dtype = str(call.attrs["dtype"])

    def element(x: Scalar, scale: Scalar, zero_point: Scalar) -> Scalar:
        difference = _cast(x, "int32") - _cast(zero_point, "int32")
        return _cast(hidden.multiply(_cast(difference, "float32"), _cast(scale, "float32")), dtype)

    return element


_ELEMENTS = {QUANTIZE: _quantized, DEQUANTIZE: _dequantized, REQUANTIZE: _requantized}


def _cast(x: Scalar, dtype: str) -> Scalar:
    if isinstance(x, tirx.IntImm):
        return tirx.const(int(x), dtype)
    return x.astype(dtype)

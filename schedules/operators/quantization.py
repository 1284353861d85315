"""Quantize, dequantize and requantize, an element at a time: `quantized_arithmetic.py`, in instructions for vectors.

A float that is within range is rounded, halves to even, by adding a number so large that its unit in the last place is
1: the bits of the sum are the integer. Every processor with floats has that, and it gives the integer at once.
"""

from __future__ import annotations

import numpy as np
from tvm import relax, tirx

from ... import hidden_floats as hidden
from ...ir_passes.dialect.quantize import DEQUANTIZE, QUANTIZE, REQUANTIZE, range_of
from ...ir_types import Scalar
from .elementwise import Element, emit_elementwise

OPERATORS = (QUANTIZE, DEQUANTIZE, REQUANTIZE)
# Added to a float32 between -2^22 and 2^22.
_LARGE = 1.5 * 2.0**23
_LARGE_BITS = int(np.float32(_LARGE).view(np.int32))


def lower_quantization(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers one of `OPERATORS`."""
    name = str(call.op.name)
    element = _dequantized(str(call.attrs["dtype"])) if name == DEQUANTIZE else _integer(call, _SCALED[name])
    return emit_elementwise(builder, call, list(call.args), element, name.rpartition(".")[2])


def _divided(x: Scalar, scale: Scalar) -> Scalar:
    return _cast(hidden.divide(x, _cast(scale, hidden.dtype_of(x))), "float32")


def _multiplied(sums: Scalar, multiplier: Scalar) -> Scalar:
    return hidden.multiply(_cast(sums, "float32"), _cast(multiplier, "float32"))


_SCALED = {QUANTIZE: _divided, REQUANTIZE: _multiplied}


def _integer(call: relax.Call, scaled: Element) -> Element:
    """The integer that a float is rounded to, within range: of NaN some integer of the dtype."""
    dtype, low, high = range_of(call)

    def element(x: Scalar, scale: Scalar, zero_point: Scalar) -> Scalar:
        zero = _cast(zero_point, "int32")
        ends = [_end(end, zero) for end in (low, high)]
        inside = hidden.smaller(hidden.larger(scaled(x, scale), ends[0]), ends[1])
        bits = tirx.reinterpret("int32", hidden.add(inside, tirx.const(_LARGE, "float32")))
        return _cast(bits + (zero - tirx.const(_LARGE_BITS, "int32")), dtype)

    return element


def _end(end: int, zero: Scalar) -> Scalar:
    """An end of the range as a float, before the zero point is added."""
    if isinstance(zero, tirx.IntImm):
        return tirx.const(float(end - int(zero)), "float32")
    return _cast(tirx.const(end, "int32") - zero, "float32")


def _dequantized(dtype: str) -> Element:
    def element(x: Scalar, scale: Scalar, zero_point: Scalar) -> Scalar:
        difference = _cast(x, "int32") - _cast(zero_point, "int32")
        return _cast(hidden.multiply(_cast(difference, "float32"), _cast(scale, "float32")), dtype)

    return element


def _cast(x: Scalar, dtype: str) -> Scalar:
    if isinstance(x, tirx.IntImm):
        return tirx.const(int(x), dtype)
    return x.astype(dtype)

"""Floats of 16 bits as integer arithmetic: bits of a float32 -> bits of a narrow one, and back.

Each takes a variable, since it reads its operand several times. A NaN stays one. Integers stay below 2^32 wherever
they are chosen: LLVM is told that they do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tvm import tirx

from ...hidden_floats import like
from ...ir_types import Scalar

Name: TypeAlias = Callable[[Scalar], Scalar]
_INFINITY, _MAGNITUDE = 0x7F800000, 0x7FFFFFFF
# As float32: 2^-14, the least normal float16; and 65520, from where on the nearest float16 is infinity.
_LEAST_NORMAL, _TOO_LARGE = 0x38800000, 0x477FF000
_HALF_INFINITY, _HALF_QUIET, _HALF_DIGITS = 0x7C00, 0x7E00, 0x3FF
_OTHER_BIAS = 0x38000000  # 112 more in the exponent of a float32


def integer(number: int, lanes: str) -> Scalar:
    """A uint32, in so many lanes (``x8``)."""
    one = tirx.IntImm("uint32", number)
    return tirx.Broadcast(one, int(lanes.removeprefix("x"))) if lanes else one


def _lanes(x: Scalar) -> str:
    _, x_, lanes = str(x.ty.dtype).partition("x")
    return x_ + lanes


def bfloat16_bits(bits: Scalar) -> Scalar:
    """The upper halves of float32, rounded to nearest, ties to even, as uint16.

    Half of the last kept bit is added, a little less where that bit is 0.

    Args:
        bits: of the float32, as uint32.
    """
    lanes = _lanes(bits)
    odd = (bits >> integer(16, lanes)) & integer(1, lanes)
    nearest = (bits + odd + integer(0x7FFF, lanes)) >> integer(16, lanes)
    quiet = (bits >> integer(16, lanes)) | integer(0x40, lanes)
    is_nan = (bits & integer(_MAGNITUDE, lanes)) > integer(_INFINITY, lanes)
    return tirx.Cast(f"uint16{lanes}", tirx.Select(is_nan, quiet, nearest))


def float16_bits(bits: Scalar, name: Name) -> Scalar:
    """The nearest float16, ties to even, as uint16.

    Args:
        bits: of the float32, as uint32.
        name: gives a variable for a value.
    """
    lanes = _lanes(bits)
    rest = name(bits & integer(_MAGNITUDE, lanes))
    odd = (rest >> integer(13, lanes)) & integer(1, lanes)
    normal = (rest + odd + integer(0xFFF, lanes) - integer(_OTHER_BIAS, lanes)) >> integer(13, lanes)
    # The last bit of 0.5 as float32 is that of a float16 below 2^-14.
    small = tirx.reinterpret(f"float32{lanes}", rest)
    sum_ = tirx.Add(small, like(0.5, small))
    subnormal = tirx.reinterpret(f"uint32{lanes}", sum_) - integer(0x3F000000, lanes)
    quiet = integer(_HALF_QUIET, lanes) | ((rest >> integer(13, lanes)) & integer(_HALF_DIGITS, lanes))
    result = tirx.Select(rest < integer(_LEAST_NORMAL, lanes), subnormal, normal)
    result = tirx.Select(rest >= integer(_TOO_LARGE, lanes), integer(_HALF_INFINITY, lanes), result)
    result = tirx.Select(rest > integer(_INFINITY, lanes), quiet, result)
    sign = (bits >> integer(16, lanes)) & integer(0x8000, lanes)
    return tirx.Cast(f"uint16{lanes}", sign | result)


def float32_of_float16(bits: Scalar, name: Name) -> Scalar:
    """The float32 that is a float16.

    Args:
        bits: of the float16, as uint32.
        name: gives a variable for a value.
    """
    lanes = _lanes(bits)
    rest = name(bits & integer(0x7FFF, lanes))
    digits = rest << integer(13, lanes)
    number = tirx.Cast(f"float32{lanes}", tirx.reinterpret(f"int32{lanes}", rest))
    subnormal = tirx.reinterpret(f"uint32{lanes}", tirx.Mul(number, like(2.0**-24, number)))
    result = tirx.Select(rest < integer(0x400, lanes), subnormal, digits + integer(_OTHER_BIAS, lanes))
    result = tirx.Select(rest >= integer(_HALF_INFINITY, lanes), digits | integer(_INFINITY, lanes), result)
    sign = (bits & integer(0x8000, lanes)) << integer(16, lanes)
    return tirx.reinterpret(f"float32{lanes}", sign | result)


def float32_to_odd(x: Scalar, name: Name) -> Scalar:
    """A float64 as float32, to odd where it is none, so that a second rounding to float16 is right.

    Args:
        x: the float64.
        name: gives a variable for a value.
    """
    lanes, double = _lanes(x), str(x.ty.dtype)

    def size(value: Scalar) -> Scalar:
        return tirx.call_llvm_pure_intrin(double, "llvm.fabs", value)

    near = name(tirx.Cast(f"float32{lanes}", x))
    back, bits = name(tirx.Cast(double, near)), name(tirx.reinterpret(f"uint32{lanes}", near))
    below = tirx.Select(tirx.GT(size(back), size(x)), bits - integer(1, lanes), bits)
    # Neither of NaN nor of what is infinite as float16.
    differs = tirx.And(tirx.NE(back, x), tirx.LT(size(x), like(65536.0, x)))
    return tirx.reinterpret(f"float32{lanes}", tirx.Select(differs, below | integer(1, lanes), bits))

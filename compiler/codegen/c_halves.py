"""float16 in C, which has no type for it: its bits are uint16_t, and what is computed of it is computed in float32.

Each result is rounded once more, as LLVM does it on processors without float16: sums, products, quotients and roots
that are right in 24 bits are right in 11.
"""

from __future__ import annotations

import numpy as np

from .c_used import Used

HALF = "float16"

_WIDE = """float float32_of_half(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000u) << 16, rest = h & 0x7fffu, bits;
  float y = (float)rest * 5.9604644775390625e-08f; /* of a number below 2^-14 */
  if (rest >= 0x7c00u) bits = 0x7f800000u | (rest & 0x3ffu) << 13;
  else if (rest >= 0x400u) bits = (rest << 13) + 0x38000000u;
  else memcpy(&bits, &y, sizeof bits);
  bits |= sign;
  memcpy(&y, &bits, sizeof y);
  return y;
}"""
_NARROW = """uint16_t half_of_float32(float x) {
  uint32_t bits, sign, rest;
  float y;
  memcpy(&bits, &x, sizeof bits);
  sign = bits >> 16 & 0x8000u;
  rest = bits & 0x7fffffffu;
  if (rest > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
  if (rest >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
  if (rest >= 0x38800000u) return (uint16_t)(sign | ((rest + 0xfffu + (rest >> 13 & 1u) - 0x38000000u) >> 13));
  memcpy(&y, &rest, sizeof y);
  y += 0.5f; /* whose last bit is that of a number below 2^-14 */
  memcpy(&bits, &y, sizeof bits);
  return (uint16_t)(sign | (bits - 0x3f000000u));
}"""
# To odd, so that the second rounding is right.
_FROM_DOUBLE = """float float32_to_odd(double x) {
  float y = (float)x;
  uint32_t bits;
  memcpy(&bits, &y, sizeof bits);
  if ((double)y != x && x == x && fabs(x) < 65536.0) bits = (bits - (fabs((double)y) > fabs(x))) | 1u;
  memcpy(&y, &bits, sizeof y);
  return y;
}"""


def half_constant(value: float) -> str:
    """The bits of a number."""
    with np.errstate(over="ignore"):
        return f"0x{int(np.float16(value).view(np.uint16)):04x}"


def widened(used: Used, text: str) -> str:
    """The float32 of bits."""
    return f"{used.function('float32_of_half', _WIDE)}({text})"


def narrowed(used: Used, text: str, dtype: str = "float32") -> str:
    """The bits of a number that is an expression of a dtype."""
    if dtype == "float64":
        used.libm.add("fabs")
        text = f"{used.function('float32_to_odd', _FROM_DOUBLE)}({text})"
    return f"{used.function('half_of_float32', _NARROW)}({text})"

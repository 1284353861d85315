"""The DSP instructions of Cortex-M4, M7 and M33: two products of 16 bits that are added to a sum, as functions in C.

    word = four weights of 8 bits: the first terms of two groups, then their second terms
    SXTB16 word            ->  the first group, 16 bits each      SXTB16 word, ROR #8  ->  the second group
    SMLAD group, group, sum  ->  sum + two products

The first operand is copied in 16 bits before (`DotUnit.copied_as`), so that a load brings a group of it. Compilers for
processors without the instructions get the same from C. Loads and products are volatile, so that they stay in the order
in which they are written, which needs the fewest registers: GCC would load as early as it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tvm import tirx

from ...ir_types import Scalar
from ..instructions import Operand
from .scalar_sums import Bound, ScalarSums, loaded

_WORD, _FIRST, _SECOND, _ADD = (
    f"tilewright_{name}" for name in ("word", "first_halves", "second_halves", "add_products")
)


def _extension(name: str, operand: str, instruction: str) -> str:
    """A function that extends the bytes 0 and 2 of `operand`, which is made of ``word``, to 16 bits each."""
    return f"""static inline uint32_t {name}(uint32_t word) {{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
  uint32_t halves;
  __asm__("{instruction}" : "=r"(halves) : "r"(word));
  return halves;
#else
  const uint32_t bytes = {operand};
  const uint32_t low = ((bytes & 0xFFu) ^ 0x80u) - 0x80u, high = ((bytes >> 16 & 0xFFu) ^ 0x80u) - 0x80u;
  return (low & 0xFFFFu) | high << 16;
#endif
}}"""


_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        _WORD: f"""static inline uint32_t {_WORD}(const void *at) {{
  uint32_t word;
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
  __asm__ volatile("ldr %0, %1" : "=r"(word) : "m"(*(const char(*)[4])at));
#else
  memcpy(&word, at, sizeof word);
#endif
  return word;
}}""",
        _FIRST: _extension(_FIRST, "word", "sxtb16 %0, %1"),
        _SECOND: _extension(_SECOND, "word >> 8", "sxtb16 %0, %1, ror #8"),
        _ADD: f"""static inline int32_t {_ADD}(uint32_t a, uint32_t b, int32_t sum) {{
#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
  __asm__ volatile("smlad %0, %1, %2, %0" : "+r"(sum) : "r"(a), "r"(b));
  return sum;
#else
  const int32_t a0 = (int32_t)((a & 0xFFFFu) ^ 0x8000u) - 0x8000, a1 = (int32_t)((a >> 16) ^ 0x8000u) - 0x8000;
  const int32_t b0 = (int32_t)((b & 0xFFFFu) ^ 0x8000u) - 0x8000, b1 = (int32_t)((b >> 16) ^ 0x8000u) - 0x8000;
  return (int32_t)((uint32_t)sum + (uint32_t)(a0 * b0) + (uint32_t)(a1 * b1));
#endif
}}""",
    }
)


class PairsInWords(ScalarSums):
    """Two groups of a row or column in two words."""

    def row(self, lhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> list[Scalar]:
        """Loads each."""
        return [bound(loaded("uint32", _WORD, lhs, group=group, **at)) for group in range(extents["group"])]

    def column(self, rhs: Operand, extents: Mapping[str, int], bound: Bound, **at: int) -> list[Scalar]:
        """Loads both and extends them."""
        word = bound(loaded("uint32", _WORD, rhs, **at))
        return [bound(tirx.call_extern("uint32", name, word)) for name in (_FIRST, _SECOND)]

    def add(self, left: Scalar, right: Scalar, total: Scalar) -> Scalar:
        """SMLAD."""
        return tirx.call_extern("int32", _ADD, left, right, total)

    def text_of(self, function: str) -> str:
        """The text of one of its functions."""
        return _TEXTS.get(function, "")

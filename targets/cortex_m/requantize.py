"""How Cortex-M requantizes: with the rounding instruction of its unit for floats, or in integers alone.

Both give what docs/quantization.md defines, to the bit: float32(sum) times the multiplier, rounded to float32, rounded
to an integer, halves to even.

Without a unit for floats: a multiplier is M * 2^-S with M of 24 bits, and its product with a sum of at most 24 bits has
48, of which the last S say how it is rounded. That the product becomes a float32 of 24 bits first matters where that
makes it a half: within half a unit of the float's last place. So what the first 24 bits of the product say is enough,
but for one in hundreds; those, and sums of more than 24 bits, are rounded step by step.
"""

from __future__ import annotations

from ..target import TargetFunction

_OPERATOR, _NAME = "requantize", "tilewright_requantize"
_HEAD = f"static inline int32_t {_NAME}(int32_t sum, float multiplier, int32_t zero, int32_t low, int32_t high) {{"
# Far beyond all ranges, and near enough that a zero point can be added.
_TAIL = """  whole = whole < -0x100000 ? -0x100000 : whole > 0xFFFFF ? 0xFFFFF : whole;
  whole += zero;
  return whole < low ? low : whole > high ? high : whole;"""

WITH_FLOATS = TargetFunction(
    _OPERATOR,
    _NAME,
    f"""{_HEAD}
  int32_t whole;
  float product = (float)sum * multiplier;
#if defined(__ARM_FP) && defined(__GNUC__) /* in the processor's rounding mode: to nearest, halves to even */
  __asm__("vcvtr.s32.f32 %0, %0" : "+t"(product));
  memcpy(&whole, &product, sizeof whole);
#else /* the last place of the sum is 1 */
  product = product < -1048576.0f ? -1048576.0f : product > 1048575.0f ? 1048575.0f : product;
  product += 12582912.0f;
  memcpy(&whole, &product, sizeof whole);
  whole -= 0x4B400000;
#endif
#if defined(__ARM_FEATURE_SAT) && defined(__GNUC__) /* one instruction each, which GCC would make branches of */
  __asm__("ssat %0, #21, %0" : "+r"(whole));
  whole += zero;
  if (low == 0 && high == 255) {{
    __asm__("usat %0, #8, %0" : "+r"(whole));
    return whole;
  }}
  if (low == -128 && high == 127) {{
    __asm__("ssat %0, #8, %0" : "+r"(whole));
    return whole;
  }}
  return whole < low ? low : whole > high ? high : whole;
#else
{_TAIL}
#endif
}}""",
)
IN_VECTORS = TargetFunction(
    _OPERATOR,
    f"{_NAME}_x4",
    f"""#include <arm_mve.h>
static inline int32x4_t {_NAME}_x4(
    int32x4_t sum, float32x4_t multiplier, int32x4_t zero, int32x4_t low, int32x4_t high) {{
  const int32x4_t whole = vqaddq_s32(vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sum), multiplier)), zero);
  return vminq_s32(vmaxq_s32(whole, low), high);
}}""",
    lanes=4,
)
IN_INTEGERS = TargetFunction(
    _OPERATOR,
    _NAME,
    f"""static uint64_t tilewright_halves_to_even(uint64_t x, uint32_t bits) {{
  const uint64_t rest = x & ((UINT64_C(1) << bits) - 1), half = UINT64_C(1) << bits >> 1;
  x >>= bits;
  return x + (bits != 0 && (rest > half || (rest == half && (x & 1) != 0)));
}}
static uint32_t tilewright_beyond_24_bits(uint64_t x) {{
  uint32_t bits = 0;
  while (x >> bits >> 24 != 0) ++bits;
  return bits;
}}
static uint32_t tilewright_rounded_product(uint32_t size, uint32_t factor, int32_t shift) {{
  uint32_t bits = tilewright_beyond_24_bits(size);
  uint64_t product = tilewright_halves_to_even(size, bits) * factor;
  shift -= (int32_t)bits;
  bits = tilewright_beyond_24_bits(product);
  product = tilewright_halves_to_even(product, bits);
  shift -= (int32_t)bits;
  if (product == 0 || shift > 25) return 0;
  return shift < 1 ? 0x1000000u : (uint32_t)tilewright_halves_to_even(product, (uint32_t)shift);
}}
{_HEAD}
  uint32_t bits;
  memcpy(&bits, &multiplier, sizeof bits);
  const uint32_t size = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum, exponent = bits >> 23 & 0xFFu;
  const uint32_t factor = exponent != 0 ? (bits & 0x7FFFFFu) | 0x800000u : 0;
  uint32_t rounded, shift = 126u - exponent;
  int near_half = 1;
  if (size >> 24 == 0 && shift - 2u < 22u) {{
    const uint32_t a1 = size >> 12, a0 = size & 0xFFFu, b1 = factor >> 12, b0 = factor & 0xFFFu;
    const uint32_t middle = a1 * b0 + a0 * b1;
    const uint32_t high_part = a1 * b1 + (middle >> 12) + ((a0 * b0 + ((middle & 0xFFFu) << 12)) >> 24);
    const uint32_t half = 1u << (shift - 1);
    near_half = ((high_part + 1 - half) & (2 * half - 2)) == 0;
    rounded = ((high_part >> (shift - 1)) + 1) >> 1;
  }}
  if (near_half) rounded = tilewright_rounded_product(size, factor, 150 - (int32_t)exponent);
  int32_t whole = (sum < 0) != (bits >> 31 != 0) ? -(int32_t)rounded : (int32_t)rounded;
{_TAIL}
}}""",
)

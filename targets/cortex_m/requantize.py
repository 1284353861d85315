"""How Cortex-M requantizes: with the rounding instruction of its unit for floats, or in integers alone.

Both give what docs/quantization.md defines, to the bit: float32(sum) times the multiplier, rounded to float32, rounded
to an integer, halves to even.

Without a unit for floats: a multiplier is M * 2^-S with M of 24 bits. Of M 12 bits are enough where the product with a
sum of at most 19 bits, which then has no more than 32, is not near a half: what is left out of M is less than half of
its last bit, and so the product is wrong by less than half of the sum. Of the others, a few in a hundred, the product
of 24 and 24 bits has 48, of which the last S say how it is rounded. That the product becomes a float32 of 24 bits first
matters where that makes it a half: within half a unit of the float's last place. So what the first 24 bits of the
product say is enough, but for one in hundreds; those, and sums of more than 24 bits, are rounded step by step.

A float is quantized likewise: 16 bits of it and of what 1 is divided by the scale, which a compiler computes, are
enough but for one in a hundred, which functions for floats divide. Each of the two is too small by less than a unit,
and less than 2^16, so that the product of 32 bits is too small by less than 2^17; the float that a quotient becomes is
within 2^7 of it.
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
#if defined(__GNUC__)
__attribute__((noinline)) /* few sums come here, and inside of a loop it would take its registers */
#endif
static uint32_t tilewright_rounded(uint32_t size, uint32_t bits) {{
  const uint32_t exponent = bits >> 23 & 0xFFu, factor = exponent != 0 ? (bits & 0x7FFFFFu) | 0x800000u : 0;
  const uint32_t shift = 126u - exponent;
  if (size >> 24 == 0 && shift - 2u < 22u) {{
    const uint32_t a1 = size >> 12, a0 = size & 0xFFFu, b1 = factor >> 12, b0 = factor & 0xFFFu;
    const uint32_t middle = a1 * b0 + a0 * b1;
    const uint32_t high_part = a1 * b1 + (middle >> 12) + ((a0 * b0 + ((middle & 0xFFFu) << 12)) >> 24);
    const uint32_t half = 1u << (shift - 1);
    if (((high_part + 1 - half) & (2 * half - 2)) != 0) return ((high_part >> (shift - 1)) + 1) >> 1;
  }}
  return tilewright_rounded_product(size, factor, 150 - (int32_t)exponent);
}}
{_HEAD}
  uint32_t bits;
  memcpy(&bits, &multiplier, sizeof bits);
  const uint32_t factor = (((bits & 0x7FFFFFu) | 0x800000u) + 0x800u) >> 12, shift = 138u - (bits >> 23 & 0xFFu);
  const uint32_t size = sum < 0 ? 0u - (uint32_t)sum : (uint32_t)sum;
  uint32_t rounded = 0, beyond = 1;
  if (size >> 19 == 0 && shift - 8u < 23u) {{
    const uint32_t product = size * factor + (1u << (shift - 1));
    rounded = (product - size) >> shift;
    beyond = (product + size) >> shift;
  }}
  if (rounded != beyond) rounded = tilewright_rounded(size, bits);
  int32_t whole = (sum < 0) != (bits >> 31 != 0) ? -(int32_t)rounded : (int32_t)rounded;
  whole += zero;
  return whole < low ? low : whole > high ? high : whole;
}}""",
)
QUOTIENTS_IN_INTEGERS = TargetFunction(
    "quantize",
    "tilewright_quantize",
    """#if defined(__GNUC__)
__attribute__((noinline)) /* few numbers come here */
#endif
static int32_t tilewright_rounded_quotient(float x, float scale, int32_t zero, int32_t low, int32_t high) {
  float whole = x / scale;
  int32_t bits;
  whole = whole > (float)(low - zero) ? whole : (float)(low - zero);
  whole = whole < (float)(high - zero) ? whole : (float)(high - zero);
  whole += 12582912.0f; /* the last place of the sum is 1 */
  memcpy(&bits, &whole, sizeof bits);
  return bits - 0x4B400000 + zero;
}
static inline int32_t tilewright_quantize(float x, float scale, int32_t zero, int32_t low, int32_t high) {
  uint32_t number, divisor, rounded = 0, beyond = 0;
  memcpy(&number, &x, sizeof number);
  memcpy(&divisor, &scale, sizeof divisor);
  const uint32_t inverse = (uint32_t)((UINT64_C(1) << 39) / ((divisor & 0x7FFFFFu) | 0x800000u));
  /* bits of the product, a number of 31 or 32, that are behind the quotient's point */
  const int32_t shift = 31 + (int32_t)(divisor >> 23 & 0xFFu) - (int32_t)(number >> 23 & 0xFFu);
  if ((divisor >> 23) - 8u >= 235u || shift < 19) {
    beyond = 1; /* no usual scale, out of all ranges, or no number */
  } else if (shift < 33) {
    const uint32_t product = (((number & 0x7FFFFFu) | 0x800000u) >> 8) * inverse;
    const uint32_t near = (product >> 1) + (1u << (shift - 2));
    rounded = (near - 0x100u) >> (shift - 1);
    beyond = (near + 0x10100u) >> (shift - 1);
  }
  if (rounded != beyond) return tilewright_rounded_quotient(x, scale, zero, low, high);
  const int32_t whole = (number >> 31 != 0 ? -(int32_t)rounded : (int32_t)rounded) + zero;
  return whole < low ? low : whole > high ? high : whole;
}""",
)

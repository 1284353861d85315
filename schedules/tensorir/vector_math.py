"""exp, tanh, erf and their relatives as arithmetic on whole vectors: LLVM would call libm once an element.

Each is a function of float32, within 4 units in the last place (GELU: docs/numerics.md) over its whole range, subnormal
results, infinities and NaN included. What they are made of:

- exp takes k = round(x / (2 ln 2)) off by Cody and Waite's two-part ln 2 (Software Manual for the Elementary
  Functions, 1980) and sums a polynomial on [-ln 2, ln 2]; its result is scaled by 2**k twice, so that neither factor
  leaves the range before the result does.
- sigmoid is c / (c + c exp(-x)), where c is so small a power of two that nothing overflows before the result is 0.
- expm1 keeps what it subtracts: 2**n (exp(r) - 1) + (2**n - 1). tanh = expm1(2x) / (expm1(2x) + 2), of -|x|; and erf =
  -expm1(-g), where g = -log(erfc) is smooth. Where a result goes towards 1, it never exceeds it.
- log1p scales by the power of two next to 1 + x without rounding x.
- GELU is max(x, 0) - |x| Phi(-|x|), where log2 Phi is smooth: nothing cancels; exact to 2e-8 where it is small.

Coefficients are minimax, by Lawson's iteration, in float64. An operation of a function is a step (`Arithmetic.name`),
so that functions of functions grow by steps and not by copies, and steps of several vectors can stand in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tvm import tirx

from ...ir_types import Scalar

_FLOAT, _INT = "float32", "int32"

# Added to a float32 of less than 2**22, it rounds it to an integer, which its last bits then hold.
_ROUNDER = 1.5 * 2**23
_LN2 = math.log(2)
_LN2_HIGH = 0.693359375  # few bits: its product with an integer of a few more is exact
_LN2_LOW = _LN2 - _LN2_HIGH
_MANTISSA_BITS = 23
_BIAS = 127 << _MANTISSA_BITS

# From the highest power: exp(r) on [-ln 2, ln 2] (relative error 1.5e-8); (exp(r) - 1 - r) / r**2 on half of that
# (1.4e-8); (log1p(m) - m) / m**2 on [-1/4, 1/2] (2.8e-8).
_EXP = (
    0.00019611752941,
    0.00141043460462,
    0.0083360997960,
    0.04166127368809,
    0.16666613519192,
    0.50000035762787,
    1.0,
    1.0,
)
_EXPM1 = (0.0013882516650483012, 0.008366547524929047, 0.04166720062494278, 0.1666654348373413, 0.4999999701976776)
_LOG1P = (
    0.05413246899843216,
    -0.12067370861768723,
    0.14983919262886047,
    -0.1682281196117401,
    0.1997707635164261,
    -0.24993441998958588,
    0.3333354890346527,
    -0.5000005960464478,
)
# 2**(f - 1) on [1, 2] (7.5e-8), the last one such that 1 gives exactly 1.
_MANTISSA_POWER = (
    0.0018775766948238015,
    -0.00039854328497312963,
    0.03864472359418869,
    0.10783493518829346,
    0.35375532507896423,
    0.49828600883483887,
)
# -log(erfc(x)) / x on [0, 4], weighted by erfc (relative error of erf 3.6e-8); erf(4) rounds to 1.
_ERF = (
    4.0710709447117686e-05,
    -0.00038101186510175467,
    0.001251773675903678,
    0.0002056843222817406,
    -0.01932169683277607,
    0.10281440615653992,
    0.6366164684295654,
    1.128379225730896,
)
_ERF_LIMIT = 4.0
# -log2(Phi(-x)) on [0, 6], weighted by x Phi(-x) (1.1e-8), and growing beyond: at 14 the result is below 2**-127.
_GAUSS = (
    2.0502570805547293e-06,
    -3.0066288672969677e-05,
    0.00014245665806811303,
    0.0002409156149951741,
    -0.007196287624537945,
    0.05258500948548317,
    0.45918068289756775,
    1.1511080265045166,
    1.0,
)
_GAUSS_LIMIT = 14.0

_EXP_LOW, _EXP_HIGH = -105.0, 89.0  # where the result is 0, or infinite
_SIGMOID_HIGH, _SIGMOID_SCALE = 40.0, -24  # where it is 1; c as a power of two
_EXPM1_LOW, _EXPM1_HIGH = -20.0, 89.0  # where it is -1, or infinite
_TANH_LIMIT = 10.0  # where it is 1
_MISH_LIMIT = 30.0  # where it is x
_GELU_TANH = (math.sqrt(2 / math.pi), 0.044715 * math.sqrt(2 / math.pi))


@dataclass(frozen=True)
class Arithmetic:
    """Operations on float32 vectors of so many lanes, each of them a step.

    Attributes:
        name: makes a value a step, and returns what stands for it.
    """

    lanes: int
    name: Callable[[Scalar], Scalar]

    def kind(self, dtype: str) -> str:
        """The dtype of a vector."""
        return dtype if self.lanes == 1 else f"{dtype}x{self.lanes}"

    def number(self, value: float, dtype: str = _FLOAT) -> Scalar:
        """A constant in all lanes."""
        one = tirx.const(value, dtype)
        return one if self.lanes == 1 else tirx.Broadcast(one, self.lanes)

    def fma(self, a: Scalar, b: Scalar, c: Scalar) -> Scalar:
        """a * b + c, rounded once where the target can."""
        return self.intrinsic("llvm.fmuladd", a, b, c)

    def intrinsic(self, name: str, *operands: Scalar) -> Scalar:
        """One of LLVM's operations on floats."""
        return self.name(tirx.call_llvm_pure_intrin(self.kind(_FLOAT), name, *operands))

    def add(self, a: Scalar, b: Scalar) -> Scalar:
        """a + b."""
        return self.name(tirx.Add(a, b))

    def subtract(self, a: Scalar, b: Scalar) -> Scalar:
        """a - b."""
        return self.name(tirx.Sub(a, b))

    def multiply(self, a: Scalar, b: Scalar) -> Scalar:
        """a * b."""
        return self.name(tirx.Mul(a, b))

    def divide(self, a: Scalar, b: Scalar) -> Scalar:
        """a / b."""
        return self.name(tirx.Div(a, b))

    def at_least(self, low: float, x: Scalar) -> Scalar:
        """x, or `low` if it is less; NaN stays NaN, which is what the order of the operands is for."""
        return self.name(tirx.Max(self.number(low), x))

    def at_most(self, high: float, x: Scalar) -> Scalar:
        """x, or `high` if it is more."""
        return self.name(tirx.Min(self.number(high), x))

    def choose(self, condition: Scalar, yes: Scalar, no: Scalar) -> Scalar:
        """One of two by lane."""
        return self.name(tirx.Select(condition, yes, no))

    def bits(self, x: Scalar) -> Scalar:
        """The bits of floats as integers."""
        return self.name(tirx.reinterpret(self.kind(_INT), x))

    def floats(self, bits: Scalar) -> Scalar:
        """Floats of these bits."""
        return self.name(tirx.reinterpret(self.kind(_FLOAT), bits))

    def horner(self, x: Scalar, coefficients: Sequence[float]) -> Scalar:
        """A polynomial, its highest coefficient first."""
        first, *rest = coefficients
        total = self.number(first)
        for coefficient in rest:
            total = self.fma(total, x, self.number(coefficient))
        return total

    def halves(self, x: Scalar, coefficients: Sequence[float]) -> Scalar:
        """A polynomial, its highest coefficient first: even and odd powers side by side, in half the time."""
        square = self.multiply(x, x)
        odd, even = (self.horner(square, coefficients[::-1][part::2][::-1]) for part in (1, 0))
        return self.fma(odd, x, even)

    def to_exponent(self, rounded: Scalar) -> Scalar:
        """Where a sum with `_ROUNDER` ends with n: n in the bits of an exponent."""
        shift = self.number(_MANTISSA_BITS, _INT)
        return self.name(tirx.shift_left(self.bits(rounded), shift))

    def power_of_two(self, exponent: Scalar, more: int = 0) -> Scalar:
        """2**(n + more) for n in the bits of an exponent; 0 for 2**-127."""
        return self.floats(self.name(tirx.Add(self.number(_BIAS + (more << _MANTISSA_BITS), _INT), exponent)))


def _split_exp(a: Arithmetic, x: Scalar, sign: int, step: int, series: Sequence[float]) -> tuple[Scalar, Scalar]:
    """exp(sign * x) = m * 2**(step * k): m, and k in the bits of an exponent.

    Args:
        series: of exp on step * [-ln 2 / 2, ln 2 / 2].
    """
    rounded = a.fma(x, a.number(sign / (step * _LN2)), a.number(_ROUNDER))
    k = a.subtract(rounded, a.number(_ROUNDER))
    r = a.fma(k, a.number(-sign * step * _LN2_HIGH), x)
    r = a.fma(k, a.number(-sign * step * _LN2_LOW), r)
    powers = range(len(series) - 1, -1, -1)
    m = a.horner(r, [sign**power * c for power, c in zip(powers, series, strict=True)])
    return m, a.to_exponent(rounded)


def _exp(a: Arithmetic, x: Scalar) -> Scalar:
    m, k = _split_exp(a, a.at_most(_EXP_HIGH, a.at_least(_EXP_LOW, x)), 1, 2, _EXP)
    scale = a.power_of_two(k)
    return a.multiply(a.multiply(m, scale), scale)


def _sigmoid(a: Arithmetic, x: Scalar) -> Scalar:
    m, n = _split_exp(a, a.at_most(_SIGMOID_HIGH, a.at_least(_EXP_LOW, x)), -1, 1, (*_EXPM1, 1.0, 1.0))
    one = a.number(2.0**_SIGMOID_SCALE)
    return a.divide(one, a.fma(m, a.power_of_two(n, _SIGMOID_SCALE), one))


def _expm1(a: Arithmetic, x: Scalar, factor: int = 1, more: int = 0) -> Scalar:
    """expm1(factor * x) for a power of two, and what is known to lie above `_EXPM1_LOW`.

    Args:
        more: the result is this power of two of it, so that 2**n stays finite: -1 or 0.
    """
    rounded = a.fma(x, a.number(factor / _LN2), a.number(_ROUNDER))
    n = a.subtract(rounded, a.number(_ROUNDER))
    r = a.fma(n, a.number(-_LN2_HIGH / factor), x)  # the remainder over `factor`
    r = a.fma(n, a.number(-_LN2_LOW / factor), r)
    powers = range(len(_EXPM1) + 1, 1, -1)
    q = a.horner(r, [factor**power * c for power, c in zip(powers, _EXPM1, strict=True)])
    linear = r if factor == 1 else a.multiply(r, a.number(factor))
    p = a.fma(a.multiply(r, r), q, linear)
    scale = a.power_of_two(a.to_exponent(rounded), more)
    return a.fma(scale, p, a.subtract(scale, a.number(2.0**more)))


def _expm1_everywhere(a: Arithmetic, x: Scalar) -> Scalar:
    half = _expm1(a, a.at_most(_EXPM1_HIGH, a.at_least(_EXPM1_LOW, x)), more=-1)
    return a.add(half, half)


def _tanh(a: Arithmetic, x: Scalar) -> Scalar:
    size = a.at_most(_TANH_LIMIT, a.intrinsic("llvm.fabs", x))
    change = _expm1(a, size, -2)
    size = a.divide(change, a.subtract(a.number(-2.0), change))
    return a.intrinsic("llvm.copysign", size, x)


def _erf(a: Arithmetic, x: Scalar) -> Scalar:
    size = a.at_most(_ERF_LIMIT, a.intrinsic("llvm.fabs", x))
    change = _expm1(a, a.multiply(size, a.horner(size, _ERF)), -1)
    return a.intrinsic("llvm.copysign", change, x)


def _log1p_of_normal(a: Arithmetic, x: Scalar) -> Scalar:
    """log1p of what is above -1 and finite."""
    near = a.bits(a.number(0.75))
    above = a.name(tirx.Sub(a.bits(a.add(x, a.number(1.0))), near))
    exponent = a.name(tirx.bitwise_and(above, a.number(-(1 << _MANTISSA_BITS), _INT)))
    four = a.floats(a.name(tirx.Sub(a.bits(a.number(4.0)), exponent)))
    scaled = a.floats(a.name(tirx.Sub(a.bits(x), exponent)))
    m = a.add(scaled, a.fma(four, a.number(0.25), a.number(-1.0)))
    p = a.fma(a.multiply(m, m), a.horner(m, _LOG1P), m)
    n = a.name(tirx.Cast(a.kind(_FLOAT), exponent))
    return a.fma(n, a.number(_LN2 / 2**_MANTISSA_BITS), p)


def _log1p(a: Arithmetic, x: Scalar) -> Scalar:
    # NaN and infinity themselves; at -1 minus infinity, and NaN below it.
    result = a.choose(tirx.LT(x, a.number(math.inf)), _log1p_of_normal(a, x), x)
    pole = a.choose(tirx.EQ(x, a.number(-1.0)), a.number(-math.inf), a.number(math.nan))
    return a.choose(tirx.LE(x, a.number(-1.0)), pole, result)


def _softplus(a: Arithmetic, x: Scalar) -> Scalar:
    """max(x, 0) + log1p(exp(-|x|)), which cannot overflow."""
    tail = _log1p_of_normal(a, _exp(a, a.name(tirx.Sub(a.number(-0.0), a.intrinsic("llvm.fabs", x)))))
    return a.add(a.at_least(0.0, x), tail)


def _mish(a: Arithmetic, x: Scalar) -> Scalar:
    """x tanh(log(1 + e)) = x n / (n + 2), for e = exp(x) and n = e (e + 2)."""
    e = _exp(a, a.at_most(_MISH_LIMIT, x))
    n = a.fma(e, e, a.add(e, e))
    return a.multiply(x, a.divide(n, a.add(n, a.number(2.0))))


def _silu(a: Arithmetic, x: Scalar) -> Scalar:
    return a.multiply(x, _sigmoid(a, x))


def _gelu(a: Arithmetic, x: Scalar) -> Scalar:
    """max(x, 0) - |x| Phi(-|x|); the formula's NaN for minus infinity."""
    limited = a.intrinsic("llvm.arithmetic.fence", a.at_most(_GAUSS_LIMIT, x))  # or LLVM compares instead of taking it
    size = a.intrinsic("llvm.fabs", limited)
    digits = a.halves(size, [-(2.0**_MANTISSA_BITS) * c for c in _GAUSS])  # log2 of Phi as a fixed-point number
    digits = a.name(tirx.Max(digits, a.number(-_BIAS)))  # in this order NaN, which no integer holds, goes
    fixed = a.name(tirx.Cast(a.kind(_INT), digits))
    exponent = a.name(tirx.bitwise_and(fixed, a.number(-(1 << _MANTISSA_BITS), _INT)))
    fraction = a.name(tirx.bitwise_and(fixed, a.number((1 << _MANTISSA_BITS) - 1, _INT)))
    mantissa = a.horner(a.floats(a.name(tirx.bitwise_or(fraction, a.number(_BIAS, _INT)))), _MANTISSA_POWER)
    tail = a.floats(a.name(tirx.Add(a.bits(mantissa), exponent)))
    return a.fma(a.name(tirx.Sub(a.number(-0.0), size)), tail, a.at_least(-0.0, x))  # -0.0 far out, as the formula


def _gelu_tanh(a: Arithmetic, x: Scalar) -> Scalar:
    """x sigmoid(2 u) = x (1 + tanh(u)) / 2, for u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    slope, bend = (2 * number for number in _GELU_TANH)
    u = a.multiply(x, a.fma(a.multiply(x, x), a.number(bend), a.number(slope)))
    return a.multiply(x, _sigmoid(a, u))


# Functions of `hidden_floats.py` by their names.
EXPANSIONS: Mapping[str, Callable[[Arithmetic, Scalar], Scalar]] = MappingProxyType(
    {
        "erf": _erf,
        "exp": _exp,
        "expm1": _expm1_everywhere,
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
        "log1p": _log1p,
        "mish": _mish,
        "sigmoid": _sigmoid,
        "silu": _silu,
        "softplus": _softplus,
        "tanh": _tanh,
    }
)

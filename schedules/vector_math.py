"""exp, tanh, sigmoid and erf as arithmetic that vectorizes: LLVM would call libm once an element.

Each is a function of one float32 with an error of a few units in the last place (absolute, for erf near its limits),
right at infinities and NaN. Derivations: exp reduces its argument to [-ln2/2, ln2/2] by Cody and Waite's two-part
ln 2 (Software Manual for the Elementary Functions, 1980) and sums a polynomial of degree 6, which is minimax there
with 1 + r kept as it is (relative error 3e-9, by Lawson's iteration); tanh and erf are the odd rational minimax
approximations that Eigen and XLA use for float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from .expressions import Scalar
from .rebuild import count_names

_FLOAT = "float32"

_EXP_HIGH = 89.0  # float32 overflows before, as the result does then by itself
_EXP_LOW = -87.33654022216797  # below it the result is subnormal: 0, like all less than 2**-125.5
_LOG2_E = 1.4426950408889634
_SIGMOID_LIMIT = 87.3
# Added to a float32 of less than 2**22, it rounds it to an integer, which its last bits then hold.
_ROUNDER = 1.5 * 2**23
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
_EXP_COEFFICIENTS = (1.3814599e-3, 8.3687166e-3, 4.1668389e-2, 1.6666521e-1, 4.9999994e-1, 1.0, 1.0)

_TANH_LIMIT = 7.90531110763549805  # beyond it float32's tanh is 1
_TANH_NUMERATOR = (
    -2.76076847742355e-16,
    2.00018790482477e-13,
    -8.60467152213735e-11,
    5.12229709037114e-08,
    1.48572235717979e-05,
    6.37261928875436e-04,
    4.89352455891786e-03,
)
_TANH_DENOMINATOR = (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)

_ERF_LIMIT = 4.0
_ERF_NUMERATOR = (
    -2.72614225801306e-10,
    2.77068142495902e-08,
    -2.10102402082508e-06,
    -5.69250639462346e-05,
    -7.34990630326855e-04,
    -2.95459980854025e-03,
    -1.60960333262415e-02,
)
_ERF_DENOMINATOR = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)


def _constant(value: float) -> Scalar:
    return tirx.const(value, _FLOAT)


def _horner(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    total = _constant(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + _constant(coefficient)
    return total


def _let(value: Scalar, body: Callable[[Any], Scalar]) -> Scalar:
    variable = tirx.Var("x", str(value.ty.dtype))
    return tirx.Let(variable, value, body(variable))


def _limited(x: Scalar, low: float, high: float, body: Callable[[Scalar], Scalar]) -> Scalar:
    """`body` of x within the limits.

    NaN stays NaN, which `tirx.min` and `max` do not promise. `tirx.isnan` would not be vectorized.
    """
    return _let(
        tirx.Select(x < _constant(low), _constant(low), x),
        lambda above: _let(tirx.Select(above > _constant(high), _constant(high), above), body),
    )


def _scaled_exp(x: Scalar, sign: int, scale: Callable[[Scalar, Scalar], Scalar], factor: int = 1) -> Scalar:
    """exp(sign * x) as `scale(m, bits)`, where factor * exp(sign * x) = m * 2**n and `bits` end with n.

    Args:
        x: within [-89, 89].
        sign: 1 or -1, which costs nothing here.
        factor: a power of two, which neither does.
    """

    def reduced(rounded: Scalar) -> Scalar:
        return _let(rounded - _constant(_ROUNDER), lambda n: _let(remainder(n), lambda r: scaled(r, rounded)))

    def remainder(n: Scalar) -> Scalar:
        """Sign * (the argument's remainder), which the odd coefficients make good."""
        return x - n * _constant(sign * _LN2_HIGH) - n * _constant(sign * _LN2_LOW)

    def scaled(r: Scalar, rounded: Scalar) -> Scalar:
        mantissa = _horner(r, [factor * sign**power * c for power, c in zip(powers, _EXP_COEFFICIENTS, strict=True)])
        return scale(mantissa, tirx.reinterpret("int32", rounded))

    powers = range(len(_EXP_COEFFICIENTS) - 1, -1, -1)
    return _let(x * _constant(sign * _LOG2_E) + _constant(_ROUNDER), reduced)


def _power_of_two(bits: Scalar, more: int = 0) -> Scalar:
    """2**(n + more), for `bits` that end with n: n is shifted into the exponent, all else out; 0 for 2**-127."""
    exponent = tirx.shift_left(bits, tirx.const(23, "int32")) + tirx.const((127 + more) << 23, "int32")
    return tirx.reinterpret(_FLOAT, exponent)


def _exp(x: Scalar) -> Scalar:
    # n may be 128, and 2**128 is no float32: a factor 2 is in the mantissa.
    return _limited(
        x,
        _EXP_LOW,
        _EXP_HIGH,
        lambda c: _scaled_exp(c, 1, lambda mantissa, bits: mantissa * _power_of_two(bits, -1), factor=2),
    )


def _sigmoid(x: Scalar) -> Scalar:
    # Beyond the limits it is 1, or less than the smallest normal number.
    def inverse(mantissa: Scalar, bits: Scalar) -> Scalar:
        return _constant(1) / (mantissa * _power_of_two(bits) + _constant(1))

    return _limited(x, -_SIGMOID_LIMIT, _SIGMOID_LIMIT, lambda c: _scaled_exp(c, -1, inverse))


def _rational(x: Scalar, limit: float, numerator: Sequence[float], denominator: Sequence[float]) -> Scalar:
    def ratio(c: Scalar) -> Scalar:
        return _let(c * c, lambda square: c * _horner(square, numerator) / _horner(square, denominator))

    return _limited(x, -limit, limit, ratio)


def _tanh(x: Scalar) -> Scalar:
    return _rational(x, _TANH_LIMIT, _TANH_NUMERATOR, _TANH_DENOMINATOR)


def _erf(x: Scalar) -> Scalar:
    return _rational(x, _ERF_LIMIT, _ERF_NUMERATOR, _ERF_DENOMINATOR)


EXPANSIONS: dict[str, Callable[[Scalar], Scalar]] = {
    "tirx.exp": _exp,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
    "tirx.sigmoid": _sigmoid,
}


# TVM's passes put the value of a name wherever it is used, and its value again: of a function of a function of a
# function they would make millions of terms. Such a call is left to libm.
_MAX_NAMES = 8


def expand_math(function: Any) -> Any:
    """Replaces the float32 calls of `EXPANSIONS` in a PrimFunc, but for those of functions of functions."""

    def expanded(call: Any) -> Any:
        name = str(getattr(call.op, "name", ""))
        if name not in EXPANSIONS or str(call.ty.dtype) != _FLOAT or count_names(call.args[0]) > _MAX_NAMES:
            return call
        return _let(call.args[0], EXPANSIONS[name])

    body = tvm_ffi.structural_map(function.body, (Call, expanded), order="post")
    return function.with_body(body)

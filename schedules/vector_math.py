"""exp, tanh, sigmoid and erf as arithmetic that vectorizes: LLVM would call libm once an element.

Each is a function of one float32 with an error of a few units in the last place (absolute, for erf near its limits),
right at infinities and NaN. Derivations: exp reduces its argument to [-ln2/2, ln2/2] by Cody and Waite's two-part
ln 2 (Software Manual for the Elementary Functions, 1980) and sums the Taylor-like polynomial of Cephes' expf; tanh and
erf are the odd rational minimax approximations that Eigen and XLA use for float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import Call

from .expressions import Scalar

_FLOAT = "float32"

_EXP_HIGH = 88.72283935546875  # above it float32 overflows
_EXP_LOW = -87.33654022216797  # below it the result is subnormal: taken for 0
_LOG2_E = 1.4426950408889634
_LN2_HIGH = 0.693359375
_LN2_LOW = -2.12194440e-4
_EXP_COEFFICIENTS = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)

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


def _keep_nan(x: Scalar, result: Scalar) -> Scalar:
    # Not x == x, which TVM takes for true.
    return tirx.Select(tirx.isnan(x), x, result)


def _exp(x: Scalar) -> Scalar:
    def reduced(clamped: Scalar) -> Scalar:
        return _let(tirx.floor(clamped * _constant(_LOG2_E) + _constant(0.5)), lambda n: powered(clamped, n))

    def powered(clamped: Scalar, n: Scalar) -> Scalar:
        remainder = clamped - n * _constant(_LN2_HIGH) - n * _constant(_LN2_LOW)

        def scaled(r: Scalar) -> Scalar:
            # n is at most 128, and 2**128 is no float32: the factor 2 comes last.
            return (_horner(r, _EXP_COEFFICIENTS) * (r * r) + r + _constant(1)) * half_power(n) * _constant(2)

        return _let(remainder, scaled)

    def half_power(n: Scalar) -> Scalar:
        # 2**(n - 1), written into the exponent's bits.
        bits = tirx.shift_left(n.astype("int32") + tirx.const(126, "int32"), tirx.const(23, "int32"))
        return tirx.reinterpret(_FLOAT, bits)

    clamped = tirx.min(tirx.max(x, _constant(_EXP_LOW)), _constant(_EXP_HIGH))
    inside = _let(clamped, reduced)
    limited = tirx.Select(x > _constant(_EXP_HIGH), tirx.infinity(_FLOAT), inside)
    return _keep_nan(x, tirx.Select(x < _constant(_EXP_LOW), _constant(0), limited))


def _rational(x: Scalar, limit: float, numerator: Sequence[float], denominator: Sequence[float]) -> Scalar:
    clamped = tirx.min(tirx.max(x, _constant(-limit)), _constant(limit))

    def ratio(c: Scalar) -> Scalar:
        return _let(c * c, lambda square: c * _horner(square, numerator) / _horner(square, denominator))

    return _keep_nan(x, _let(clamped, ratio))


def _tanh(x: Scalar) -> Scalar:
    return _rational(x, _TANH_LIMIT, _TANH_NUMERATOR, _TANH_DENOMINATOR)


def _erf(x: Scalar) -> Scalar:
    return _rational(x, _ERF_LIMIT, _ERF_NUMERATOR, _ERF_DENOMINATOR)


def _sigmoid(x: Scalar) -> Scalar:
    return _constant(1) / (_constant(1) + _exp(_constant(0) - x))


EXPANSIONS: dict[str, Callable[[Scalar], Scalar]] = {
    "tirx.exp": _exp,
    "tirx.tanh": _tanh,
    "tirx.erf": _erf,
    "tirx.sigmoid": _sigmoid,
}


def expand_math(function: Any) -> Any:
    """Replaces the float32 calls of `EXPANSIONS` in a PrimFunc."""

    def expanded(call: Any) -> Any:
        name = str(getattr(call.op, "name", ""))
        if name not in EXPANSIONS or str(call.ty.dtype) != _FLOAT:
            return call
        return _let(call.args[0], EXPANSIONS[name])

    body = tvm_ffi.structural_map(function.body, (Call, expanded), order="post")
    return function.with_body(body)

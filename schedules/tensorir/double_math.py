"""The functions of float64 that libm lacks, by those that it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from tvm import tirx

from ... import hidden_floats as hidden
from ...ir_types import Scalar


def _call(name: str, x: Scalar) -> Scalar:
    return hidden.call(f"{hidden.PREFIX}{name}", x)


def _absolute(x: Scalar) -> Scalar:
    return tirx.call_llvm_pure_intrin(hidden.dtype_of(x), "llvm.fabs", x)


def _negative(x: Scalar) -> Scalar:
    return hidden.subtract(hidden.like(-0.0, x), x)


def _sigmoid(x: Scalar) -> Scalar:
    one = hidden.like(1, x)
    return hidden.divide(one, hidden.add(one, _call("exp", _negative(x))))


def _softplus(x: Scalar) -> Scalar:
    tail = _call("log1p", _call("exp", _negative(_absolute(x))))
    return hidden.add(hidden.maximum(x, hidden.like(0, x)), tail)


def _gelu(x: Scalar) -> Scalar:
    """x erfc(-x / sqrt 2) / 2."""
    gate = _call("erfc", hidden.multiply(x, hidden.like(-math.sqrt(0.5), x)))
    return hidden.multiply(hidden.multiply(x, hidden.like(0.5, x)), gate)


def _gelu_tanh(x: Scalar) -> Scalar:
    slope = 2 * math.sqrt(2 / math.pi)
    cube = hidden.multiply(hidden.multiply(x, x), x)
    u = hidden.multiply(hidden.like(slope, x), hidden.add(x, hidden.multiply(hidden.like(0.044715, x), cube)))
    return hidden.multiply(x, _sigmoid(u))


# Each takes a variable, which it may read several times.
DOUBLES: Mapping[str, Callable[[Scalar], Scalar]] = MappingProxyType(
    {
        "gelu": _gelu,
        "gelu_tanh": _gelu_tanh,
        "mish": lambda x: hidden.multiply(x, _call("tanh", _softplus(x))),
        "sigmoid": _sigmoid,
        "silu": lambda x: hidden.multiply(x, _sigmoid(x)),
        "softplus": _softplus,
    }
)

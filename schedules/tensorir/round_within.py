"""Floats rounded to integers of a range that has a zero point: halves to even, in instructions for vectors.

A float that is within range is rounded by adding a number so large that its unit in the last place is 1: the bits of
the sum are the integer. Every processor with floats has that, and it gives the integer at once.
"""

from __future__ import annotations

import numpy as np
from tvm import tirx

from ... import hidden_floats as hidden
from ...ir_types import Scalar

# Added to a float32 between -2^22 and 2^22.
_LARGE = 1.5 * 2.0**23
_LARGE_BITS = int(np.float32(_LARGE).view(np.int32))


def rounded_within(x: Scalar, zero: Scalar, low: Scalar | int, high: Scalar | int) -> Scalar:
    """The int32 nearest to a float32 plus `zero`, from `low` to `high`: of NaN some integer in that range.

    Vectors of several lanes are rounded lane by lane; the result has hidden operators.
    """
    ends = (_end(end, zero) for end in (low, high))
    lanes = hidden.dtype_of(x).partition("x")[2]
    inside = hidden.smaller(hidden.larger(x, next(ends)), next(ends))
    bits = tirx.reinterpret(
        f"int32x{lanes}" if lanes else "int32", hidden.add(inside, _like(tirx.const(_LARGE, "float32"), lanes))
    )
    return bits + (zero - _like(tirx.const(_LARGE_BITS, "int32"), lanes))


def _end(end: Scalar | int, zero: Scalar) -> Scalar:
    """An end of the range as a float, before the zero point is added."""
    values = [_number(each) for each in (end, zero)]
    lanes = hidden.dtype_of(zero).partition("x")[2]
    if all(each is not None for each in values):
        first, second = values
        return _like(tirx.const(float(first - second), "float32"), lanes)  # type: ignore[operator]
    end = _like(tirx.const(end, "int32"), lanes) if isinstance(end, int) else end
    return (end - zero).astype(f"float32x{lanes}" if lanes else "float32")


def _number(value: Scalar | int) -> int | None:
    """A constant, if it is one, in whatever lanes."""
    value = value.value if isinstance(value, tirx.Broadcast) else value
    return int(value) if isinstance(value, int | tirx.IntImm) else None


def _like(value: Scalar, lanes: str) -> Scalar:
    return tirx.Broadcast(value, int(lanes)) if lanes else value

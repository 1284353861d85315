"""Integers that compare as elements of any dtype do.

Floats alone have no total order, and whatever simplifies expressions may take `not a < b` for `b <= a`. Integers have
one: with keys every rank is taken exactly once and every position lies inside, whatever the data.
"""

from __future__ import annotations

from tvm import tirx

from ...ir_types import Scalar
from .dtypes import accumulator, is_float


def key_dtype(dtype: str) -> str:
    """The dtype of the keys of a dtype."""
    if dtype == "bool":
        return "int8"
    return {"float32": "int32", "float64": "int64"}[accumulator(dtype)] if is_float(dtype) else dtype


def key(value: Scalar, dtype: str) -> Scalar:
    """The key of a value: -0 equals 0, and NaN is above every number.

    The bits of a float that is not negative order as integers do; those of a negative one the other way round. No
    number has the least key that there is.
    """
    kind = key_dtype(dtype)
    if not is_float(dtype):
        return value if kind == dtype else value.astype(kind)
    wide = accumulator(dtype)
    bits = tirx.reinterpret(kind, value if wide == dtype else value.astype(wide))
    magnitude = bits & tirx.max_value(kind)  # all but the sign
    infinity = tirx.const(0xFF << 23 if kind == "int32" else 0x7FF << 52, kind)
    signed = tirx.Select(bits < tirx.const(0, kind), -magnitude, magnitude)
    return tirx.Select(magnitude > infinity, tirx.max_value(kind), signed)

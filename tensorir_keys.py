"""Integers that compare as elements of any dtype do.

Floats alone have no total order, and whatever simplifies expressions may take `not a < b` for `b <= a`. Integers have
one: with keys every rank is taken exactly once and every position lies inside, whatever the data.
"""

from __future__ import annotations

from tvm import tirx

from .dtypes import accumulator, is_float
from .ir_types import Buffer, Scalar, Stmt
from .tensorir_statements import load, loop, store


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


def compare_rows(x: Buffer, one: Scalar, other: Scalar, sign: Buffer) -> list[Stmt]:
    """Sets a variable (int32) to -1, 0 or 1: whether a row of a matrix comes before another, equals it, or comes after.

    Rows compare as words do, by the first element that differs.
    """
    dtype, columns = str(x.dtype), int(x.shape[1])

    def element(column: Scalar) -> list[Stmt]:
        left, right = key(load(x, one, column), dtype), key(load(x, other, column), dtype)
        found = tirx.Select(left < right, tirx.const(-1, "int32"), tirx.const(0, "int32"))
        found = tirx.Select(right < left, tirx.const(1, "int32"), found)
        known = load(sign, 0)
        return [store(sign, tirx.Select(known == tirx.const(0, "int32"), found, known), 0)]

    return [store(sign, tirx.const(0, "int32"), 0), loop(columns, element)]

"""Tensors of dtypes that no kernel computes with (int4, float8 and the like): one byte an element holds its bits.

The bits stand as numpy's extension types have them, in the low end of the byte. They can be moved as bytes can, and
converted: to a wider dtype by a table of all 256 bytes, from one by arithmetic on the bits of floats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from tvm import relax, te, tirx, topi

from ...ir_types import Scalar
from .dtypes import NARROW, accumulator, is_float, numpy_dtype
from .narrow_value import Narrow
from .node import Expr, Node, Result, Value, dtype_of

CODES = "uint8"
_WHOLE_BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4}
# Operators that do not look at what they move: of inputs of narrow dtypes they move the bytes.
MOVES = frozenset(
    (
        *("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Concat", "Split", "Expand"),
        *("Tile", "Gather", "GatherElements", "GatherND", "DepthToSpace", "SpaceToDepth", "Where", "ReverseSequence"),
        *("ScatterElements", "ScatterND"),
    )
)


def moved(node: Node, converter: Callable[[Node], Result]) -> Sequence[Value] | None:
    """The outputs of an operator that moves tensors of a narrow dtype; None if it does not, or none is given."""
    dtype = next((value.dtype for value in node.inputs if isinstance(value, Narrow)), None)
    if dtype is None or node.op_type not in MOVES or (node.attr_str("reduction", "none") != "none"):
        return None
    kind = numpy_dtype(dtype)
    result = converter(
        node.with_inputs(
            [
                value.codes
                if isinstance(value, Narrow)
                else value.view(CODES)
                if isinstance(value, np.ndarray) and value.dtype == kind
                else value
                for value in node.inputs
            ]
        )
    )
    results = result if isinstance(result, list | tuple) else [result]
    return [each.view(kind) if isinstance(each, np.ndarray) else Narrow(node.emit(each), dtype) for each in results]


def decoded(node: Node, codes: Expr, dtype: str, wanted: str) -> Expr:
    """Bytes of a narrow dtype as numbers of a dtype that kernels compute with."""
    with np.errstate(all="ignore"):
        table = np.arange(256, dtype=np.uint8).view(numpy_dtype(dtype)).astype(numpy_dtype(wanted))
    return relax.op.take(node.emit(table), relax.op.astype(codes, "int32"), 0, mode="fast")


def encoded(node: Node, x: Expr, dtype: str, *, saturate: bool, rounding: str) -> Narrow:
    """Numbers as bytes of a narrow dtype; whole numbers lose the bits that have no place.

    Args:
        saturate: whether floats beyond the largest become it; else infinity, or NaN where there is none.
        rounding: of float8_e8m0fnu: up, down, or nearest.
    """
    x = node.emit(x)
    given = dtype_of(x)
    if dtype in _WHOLE_BITS:
        whole = node.emit(relax.op.astype(x, "int32"))
        mask = node.scalar((1 << _WHOLE_BITS[dtype]) - 1, "int32")
        return Narrow(node.emit(relax.op.astype(relax.op.bitwise_and(whole, mask), CODES)), dtype)
    wide = accumulator(given) if is_float(given) else "float64" if given in ("int64", "uint64") else "float32"
    wide = "float32" if dtype == "float8_e8m0fnu" else wide
    x = x if wide == given else node.emit(relax.op.astype(x, wide))
    code = _exponent_of(saturate, rounding) if dtype == "float8_e8m0fnu" else _float_of(dtype, wide, saturate)

    def encode(a: te.Tensor) -> te.Tensor:
        return te.compute(a.shape, lambda *i: code(a(*i)).astype(CODES), name="encode", tag=topi.tag.ELEMWISE)

    return Narrow(node.emit_te(encode, x), dtype)


def cast_array(array: np.ndarray[Any, Any], dtype: str, *, saturate: bool, rounding: str) -> np.ndarray[Any, Any]:
    """A constant in a narrow dtype, as `encoded` makes it."""
    kind = numpy_dtype(dtype)
    if dtype in _WHOLE_BITS:
        return np.asarray(array.astype(np.float64).astype(np.int64).astype(kind))
    if dtype == "float8_e8m0fnu":
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_float8e8m0(array.astype(np.float32), saturate, rounding)).view(kind)
    if not saturate:
        return np.asarray(array.astype(kind))
    limits = ml_dtypes.finfo(kind)
    return np.asarray(np.clip(array.astype(np.float64), float(limits.min), float(limits.max)).astype(kind))


def _float_of(dtype: str, wide: str, saturate: bool) -> Callable[[Scalar], Scalar]:
    """Rounds to nearest, halves to even: normal numbers by adding to their bits, others as multiples of the least."""
    kind = numpy_dtype(dtype)
    limits = ml_dtypes.finfo(kind)

    def code_of(value: float) -> int:
        return int(np.asarray(value, np.float64).astype(kind).view(np.uint8))

    largest = code_of(float(limits.max))
    beyond = largest if saturate else code_of(np.inf)
    nan, sign = code_of(np.nan), 1 << (int(limits.bits) - 1)
    signed_zero = code_of(-0.0) != 0
    bits, mantissa, bias = ("int64", 52, 1023) if wide == "float64" else ("int32", 23, 127)
    own_mantissa, own_bias = int(limits.nmant), 1 - int(limits.minexp)
    dropped = mantissa - own_mantissa

    def const(value: int) -> Scalar:
        return tirx.const(value, bits)

    def code(value: Scalar) -> Scalar:
        pattern = tirx.reinterpret(bits, value)
        magnitude = pattern & tirx.max_value(bits)
        odd = (magnitude >> dropped) & const(1)
        normal = ((magnitude + const((1 << (dropped - 1)) - 1) + odd) >> dropped) - const(
            (bias - own_bias) << own_mantissa
        )
        least = tirx.const(2.0 ** (own_bias - 1 + own_mantissa), wide)
        small = tirx.nearbyint(tirx.abs(value) * least).astype(bits)
        below = magnitude < const((bias + 1 - own_bias) << mantissa)
        # What is far too large for an integer is no small number either: it must not be converted to one.
        rounded = tirx.if_then_else(below, small, normal)
        rounded = tirx.Select(rounded > const(largest), const(beyond), rounded)
        infinity = const((2 * bias + 1) << mantissa)
        rounded = tirx.Select(magnitude > infinity, const(nan), rounded)
        negative = pattern < const(0)
        if not signed_zero:
            negative = tirx.all(negative, rounded != const(0))
        return rounded | tirx.Select(negative, const(sign), const(0))

    return code


def _exponent_of(saturate: bool, rounding: str) -> Callable[[Scalar], Scalar]:
    """The exponent of a float32, rounded as asked; the sign has no place, and zero is the least."""

    def const(value: int) -> Scalar:
        return tirx.const(value, "int32")

    def code(value: Scalar) -> Scalar:
        pattern = tirx.reinterpret("int32", value)
        exponent = (pattern >> 23) & const(0xFF)
        fraction = pattern & const(0x7FFFFF)
        half = const(0x400000)
        up = {
            "up": fraction > 0,
            "down": fraction < 0,
            "nearest": tirx.any(fraction > half, tirx.all(fraction == half, exponent > 0)),
        }[rounding]
        most = const(0xFE if saturate else 0xFF)
        moved_up = tirx.min(exponent + tirx.Select(up, const(1), const(0)), most)
        return tirx.Select(exponent == 0xFF, exponent, moved_up)

    return code


__all__ = ["CODES", "MOVES", "NARROW", "Narrow", "cast_array", "decoded", "encoded", "moved"]

"""Operands of products as integers: what is dequantized, or integers less their zero point, in some tensor."""

from __future__ import annotations

from dataclasses import dataclass

from tvm import relax

from ..core.graph import Expr
from ..core.match import calls, made_by, only_use
from ..core.rewriter import Rewriter, dtype_of, shape_of
from ..dialect.quantize import QUANTIZE, quantize, range_of
from .quantized_values import SHIFTS, dequantized, in_dtype, integer, is_move, moved, size_of, whole

# Of the difference of two integers of 8 bits.
LARGEST = 255


@dataclass(frozen=True)
class Factor:
    """Integers of 8 bits; the zero point as a number or as a scalar of int32; the scale, if floats are multiplied.

    Of a matrix the scale may be one for each row.
    """

    integers: Expr
    zero: int | Expr
    scale: Expr | None

    @property
    def is_symmetric(self) -> bool:
        """Whether the integers are multiplied as they are."""
        return isinstance(self.zero, int) and self.zero == 0


def factor_of(rewriter: Rewriter, expr: Expr, *, rows: bool) -> Factor | None:
    """What an operand of a product stands for, where one zero point is for all of it.

    Args:
        rows: whether scales may be those of rows.
    """
    found = dequantized(rewriter, expr)
    if found is not None:
        shared = found.is_uniform or (rows and _is_of_rows(found.scale))
        if not shared or found.dtype != "float32" or dtype_of(found.integers) not in SHIFTS:
            return None
        number = whole(found.zero_point)
        return None if number is None else Factor(found.integers, number, found.scale)
    zero: int | Expr = 0
    value = made_by(rewriter, expr, "subtract")
    if value is not None:
        if size_of(value.args[1]) != 1 or shape_of(value.args[0]) != shape_of(value):
            return None
        expr, number = value.args[0], whole(value.args[1])
        zero = value.args[1] if number is None else number
    value = made_by(rewriter, expr, "astype")
    if value is None or dtype_of(value) != "int32" or dtype_of(value.args[0]) not in SHIFTS:
        return None
    return Factor(value.args[0], zero, None)


def with_dtype(rewriter: Rewriter, factor: Factor, dtype: str, hint: str) -> Factor:
    """The same factor in integers of the other dtype of 8 bits."""
    if dtype_of(factor.integers) == dtype:
        return factor
    zero, shift = factor.zero, SHIFTS[dtype]
    by = zero + shift if isinstance(zero, int) else rewriter.emit(relax.op.add(zero, integer(shift)), hint)
    made = _made_in(rewriter, factor.integers, dtype)
    return Factor(in_dtype(rewriter, factor.integers, dtype, hint) if made is None else made, by, factor.scale)


def _made_in(rewriter: Rewriter, integers: Expr, dtype: str) -> Expr | None:
    """What was quantized for this operand alone, perhaps moved since, quantized to the other dtype at once."""
    value = rewriter.definition(integers)
    if value is None or not only_use(rewriter, integers):
        return None
    if is_move(value):
        inner = _made_in(rewriter, value.args[0], dtype)
        return None if inner is None else rewriter.emit(moved(value, inner), integers.name)
    if not calls(value, QUANTIZE.removeprefix("relax.")):
        return None
    x, scale, zero = value.args
    (_, low, high), number, shift = range_of(value), whole(zero), SHIFTS[dtype]
    if number is None:
        return None
    made = quantize(x, scale, integer(number + shift), dtype, low + shift, high + shift)
    return rewriter.emit(made, integers.name)


def _is_of_rows(scale: Expr) -> bool:
    """Whether a scale is the same along the last axis."""
    return bool(scale.ty.ndim) and int(scale.ty.shape[-1]) == 1

"""What the passes on quantized tensors look for: parameters, moves, and integers that stand for others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr
from ..core.match import calls, made_by
from ..core.rewriter import Rewriter, dtype_of
from ..dialect.quantize import DEQUANTIZE
from ..operators.canonical_moves import RESHAPES

# Operators that choose the largest: the same of integers as of the floats that those stand for, by a positive scale.
CHOICES = ("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d", "max")
# Operators that leave elements in their order.
# Operators that do the same to integers as to the floats that those stand for: they take elements from one place to
# another, or choose.
MOVES = (
    *RESHAPES,
    *("permute_dims", "strided_slice", "flip", "repeat", "tile", "broadcast_to"),
    *CHOICES,
)
# What is added to integers of the other dtype of 8 bits to make them these; 128 is also the bit that they differ in.
SHIFT = 128
SHIFTS = {"uint8": SHIFT, "int8": -SHIFT}


@dataclass(frozen=True)
class Dequantized:
    """A tensor that is dequantized: integers, and the scale and the zero point as expressions."""

    integers: Expr
    scale: Expr
    zero_point: Expr
    dtype: str

    @property
    def is_uniform(self) -> bool:
        """Whether one scale and one zero point are for all of it."""
        return all(size_of(each) == 1 for each in (self.scale, self.zero_point))


def dequantized(rewriter: Rewriter, expr: Expr) -> Dequantized | None:
    """What an expression, a call or what is bound to one, is dequantized from, if it is."""
    name = DEQUANTIZE.removeprefix("relax.")
    value = expr if calls(expr, name) else made_by(rewriter, expr, name)
    if value is None:
        return None
    integers, scale, zero = value.args
    return Dequantized(integers, scale, zero, str(value.attrs["dtype"]))


def size_of(expr: Expr) -> int:
    """How many elements a tensor of known shape has."""
    size = 1
    for extent in expr.ty.shape:
        size *= int(extent)
    return size


def whole(expr: Expr) -> int | None:
    """The integer that a constant of one element is."""
    array = array_of(expr)
    return int(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def same_parameter(one: Expr, other: Expr) -> bool:
    """Whether two scales, or zero points, are equal numbers for all of a tensor."""
    first, second = array_of(one), array_of(other)
    if first is None or second is None:
        return bool(one.same_as(other))
    return first.size == second.size == 1 and first.reshape(-1)[0] == second.reshape(-1)[0]


def shifted(rewriter: Rewriter, integers: Expr, hint: str) -> Expr:
    """Integers of 8 bits as those of the other dtype that stand for the same floats."""
    if dtype_of(integers) == "uint8":
        return rewriter.emit(relax.op.astype(_flipped(rewriter, integers, hint), "int8"), hint)
    return _flipped(rewriter, rewriter.emit(relax.op.astype(integers, "uint8"), hint), hint)


def before_shift(rewriter: Rewriter, expr: Expr, dtype: str) -> Expr | None:
    """The integers of `dtype` that `shifted` made others of, if it did."""
    if dtype_of(expr) not in SHIFTS or dtype_of(expr) == dtype:
        return None
    if dtype == "uint8":
        made = made_by(rewriter, expr, "astype")
        return None if made is None else _before_flip(rewriter, made.args[0])
    flipped = _before_flip(rewriter, expr)
    made = None if flipped is None else made_by(rewriter, flipped, "astype")
    return made.args[0] if made is not None and dtype_of(made.args[0]) == dtype else None


def in_dtype(rewriter: Rewriter, integers: Expr, dtype: str, hint: str) -> Expr:
    """Integers of 8 bits as those of `dtype` that stand for the same floats."""
    if dtype_of(integers) == dtype:
        return integers
    before = before_shift(rewriter, integers, dtype)
    return shifted(rewriter, integers, hint) if before is None else before


def _flipped(rewriter: Rewriter, unsigned: Expr, hint: str) -> Expr:
    return rewriter.emit(relax.op.bitwise_xor(unsigned, constant(np.asarray(SHIFT, np.uint8))), hint)


def _before_flip(rewriter: Rewriter, expr: Expr) -> Expr | None:
    inner = made_by(rewriter, expr, "bitwise_xor")
    return inner.args[0] if inner is not None and whole(inner.args[1]) == SHIFT else None


def is_move(value: Expr) -> bool:
    """Whether a value only moves its first operand, or chooses from it."""
    return calls(value, *MOVES) and isinstance(value.args[0].ty, relax.TensorType)


def moved(value: Call, operand: Expr) -> Expr:
    """The same move of another tensor."""
    return tvm.ir.Call(value.op, [operand, *list(value.args)[1:]], value.attrs, list(value.ty_args))


def moved_array(value: Call, array: Array) -> Array | None:
    """The same move of a known tensor, where it keeps all elements."""
    if calls(value, "permute_dims"):
        axes = value.attrs.axes
        return array.transpose(None if axes is None else [int(axis) for axis in axes])
    if calls(value, "reshape", "expand_dims", "squeeze"):
        return array.reshape([int(extent) for extent in value.ty.shape])
    return None


def integer(value: Any) -> Expr:
    """A constant of int32, of rank 0 or an array."""
    return constant(np.asarray(value, np.int32))


def as_array(expr: Expr, rank: int) -> Array | None:
    """A constant as it broadcasts to so many axes."""
    array = array_of(expr)
    return None if array is None else array.reshape((1,) * (rank - array.ndim) + array.shape)

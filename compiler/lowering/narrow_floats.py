"""Floats of 16 bits in kernels that only store them: conversions as integer arithmetic, or as the instruction for it.

All bfloat16 are treated so, and float16 where the processor has no instructions for it: LLVM would call functions
there, which support libraries do not have, or take from other registers than LLVM gives them in (RISC-V).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import ml_dtypes
import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from ... import hidden_floats as hidden
from ...ir_types import Call, PrimFunc, Scalar
from .rounded_bits import integer

_CHOICE = "prim.if_then_else"
_MOVES = (_CHOICE, "tirx.reinterpret")


class Halves(Enum):
    """What lowering does to conversions of float16: nothing; those of float64 in two steps; all as integers."""

    LEFT = auto()
    BY_FLOAT32 = auto()
    INTEGERS = auto()


@dataclass(frozen=True)
class NarrowFloat:
    """A float of 16 bits, stored as such and computed with in float32.

    Attributes:
        numpy: what numpy knows it as.
        rounds_products: whether a product is rounded before it is added to something.
        widened: the float32 of bits.
        narrowed: the bits of a float32, which is rounded.
        from_double: the float32 that is rounded in the place of a float64.
    """

    dtype: str
    numpy: Any
    rounds_products: bool
    widened: Callable[[Scalar], Scalar]
    narrowed: Callable[[Scalar], Scalar]
    from_double: Callable[[Scalar], Scalar]

    def is_of(self, expression: Scalar) -> bool:
        """Whether an expression is one of it, or of vectors of it."""
        return isinstance(expression.ty, tvm.ir.PrimType) and str(expression.ty.dtype).startswith(self.dtype)


def _widened_bfloat16(bits: Scalar) -> Scalar:
    lanes = str(bits.ty.dtype).removeprefix("uint16")
    return tirx.reinterpret(f"float32{lanes}", tirx.Cast(f"uint32{lanes}", bits) << integer(16, lanes))


def _cast_to_float32(x: Scalar) -> Scalar:
    return tirx.Cast(str(x.ty.dtype).replace("float64", "float32"), x)


BFLOAT16 = NarrowFloat(
    "bfloat16", ml_dtypes.bfloat16, False, _widened_bfloat16, hidden.round_to_bfloat16, _cast_to_float32
)
FLOAT16 = NarrowFloat(
    "float16", np.float16, True, hidden.widen_float16, hidden.round_to_float16, hidden.round_to_odd_float32
)


def legalize_arithmetic(function: PrimFunc, kind: NarrowFloat = BFLOAT16) -> PrimFunc:
    """Every operation on narrow floats is done in float32 and rounded; a function that only stores them is unchanged.

    TVM's own legalization would leave the roundings between two operations out.
    """

    def wide(x: Scalar) -> Scalar:
        if isinstance(x, tirx.FloatImm):  # of whose conversion TVM's passes would make the number as it is written
            with np.errstate(over="ignore"):
                return tirx.const(float(np.array(float(x.value), kind.numpy)), "float32")
        return tirx.Cast(str(x.ty.dtype).replace(kind.dtype, "float32"), x)

    def rounded(call: Call) -> Scalar:
        return tirx.Cast(str(call.ty.dtype).replace("float32", kind.dtype), call)

    def compute(call: Call) -> Scalar:
        name, dtype = str(call.op.name), str(call.ty.dtype) if kind.is_of(call) else ""
        narrow = [isinstance(each, tvm.ir.Expr) and kind.is_of(each) for each in call.args]
        computes = name.startswith(hidden.PREFIX) or (dtype and name not in _MOVES and not _is_foreign(name))
        if not computes or not (dtype or any(narrow)):
            return call
        operands = [wide(each) if is_narrow else each for each, is_narrow in zip(call.args, narrow, strict=True)]
        if name == hidden.ADD_PRODUCT and kind.rounds_products:
            total, x, y = operands
            return rounded(hidden.add(total, wide(rounded(hidden.multiply(x, y)))))
        result = tvm.ir.PrimType(dtype.replace(kind.dtype, "float32")) if dtype else call.ty
        computed = tvm.ir.Call(call.op, operands, call.attrs, ret_ty=result)
        return rounded(computed) if dtype else computed

    def choose(select: Scalar) -> Scalar:
        if not kind.is_of(select):
            return select
        chosen = tirx.Select(select.condition, wide(select.true_value), wide(select.false_value))
        return tirx.Cast(str(select.ty.dtype), chosen)

    body = tvm_ffi.structural_map(function.body, [(tvm.ir.Call, compute), (tirx.Select, choose)], order="post")
    return function if body.same_as(function.body) else function.with_body(body)


def _is_foreign(name: str) -> bool:
    """Whether a call is one of something by its name, which takes operands as they are."""
    return name.rpartition(".")[2].startswith("call_")


def expand_conversions(
    function: PrimFunc, kind: NarrowFloat = BFLOAT16, rounding: Callable[[int], str] | None = None
) -> PrimFunc:
    """Writes conversions to and from a narrow float out, in a function whose loops are vectorized.

    Args:
        rounding: `Instructions.rounding` of a unit that rounds; by default that is integer arithmetic.
    """

    def convert(cast: Scalar) -> Scalar:
        source, result = str(cast.value.ty.dtype), str(cast.ty.dtype)
        if source.startswith(kind.dtype):
            bits = tirx.reinterpret(source.replace(kind.dtype, "uint16"), cast.value)
            wide = kind.widened(bits)
            return wide if result.startswith("float32") else tirx.Cast(result, wide)
        if not result.startswith(kind.dtype):
            return cast
        lanes = result.removeprefix(kind.dtype)
        value = cast.value
        if source.startswith("float64"):
            value = kind.from_double(value)
        elif not source.startswith("float32"):
            value = tirx.Cast(f"float32{lanes}", value)
        if rounding is not None:
            name = rounding(int(lanes.removeprefix("x") or 1))
            return tirx.reinterpret(result, tirx.call_pure_extern(f"uint16{lanes}", name, value))
        return tirx.reinterpret(result, kind.narrowed(value))

    def choose(call: Call) -> Scalar:
        if not kind.is_of(call) or str(call.op.name) != _CHOICE:
            return call
        lanes = str(call.ty.dtype).removeprefix(kind.dtype)
        condition, *values = call.args
        bits = tirx.if_then_else(condition, *(tirx.reinterpret(f"uint16{lanes}", value) for value in values))
        return tirx.reinterpret(f"{kind.dtype}{lanes}", bits)

    def number(constant: Scalar) -> Scalar:
        if not kind.is_of(constant):
            return constant
        with np.errstate(over="ignore"):
            bits = np.array(float(constant.value), kind.numpy).view(np.uint16)
        return tirx.reinterpret(kind.dtype, tirx.IntImm("uint16", int(bits)))

    def repeated(broadcast: Scalar) -> Scalar:
        if not kind.is_of(broadcast):
            return broadcast
        bits = tirx.Broadcast(tirx.reinterpret("uint16", broadcast.value), broadcast.lanes)
        return tirx.reinterpret(f"{kind.dtype}x{int(broadcast.lanes)}", bits)

    changes = [(tirx.Cast, convert), (tvm.ir.Call, choose), (tirx.FloatImm, number), (tirx.Broadcast, repeated)]
    # The innermost first: of a conversion there and back neither may be left to LLVM, which calls a library for it.
    return function.with_body(tvm_ffi.structural_map(function.body, changes, order="post"))


def round_doubles_once(function: PrimFunc) -> PrimFunc:
    """Conversions of float64 to float16 by way of float32, for which there are instructions."""

    def convert(cast: Scalar) -> Scalar:
        if not FLOAT16.is_of(cast) or not str(cast.value.ty.dtype).startswith("float64"):
            return cast
        return tirx.Cast(str(cast.ty.dtype), FLOAT16.from_double(cast.value))

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.Cast, convert), order="post"))

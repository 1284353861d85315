"""bfloat16 in kernels that only store it: conversions as integer arithmetic, or as the instruction for it.

A bfloat16 is the upper half of a float32.
"""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import tvm
import tvm_ffi
from tvm import tirx

from ... import hidden_floats as hidden
from ...ir_types import Call, PrimFunc, Scalar

_DTYPE = "bfloat16"
_CHOICE = "prim.if_then_else"
_MOVES = (_CHOICE, "tirx.reinterpret")


def legalize_arithmetic(function: PrimFunc) -> PrimFunc:
    """Every operation on bfloat16 is done in float32 and rounded; a function that only stores it is unchanged.

    TVM's own legalization would leave the roundings between two operations out.
    """

    def compute(call: Call) -> Scalar:
        name, kind = str(call.op.name), str(call.ty.dtype) if _is_bfloat16(call) else ""
        narrow = [isinstance(each, tvm.ir.Expr) and _is_bfloat16(each) for each in call.args]
        computes = name.startswith(hidden.PREFIX) or (kind and name not in _MOVES and not _is_foreign(name))
        if not computes or not (kind or any(narrow)):
            return call
        operands = [_wide(each) if is_narrow else each for each, is_narrow in zip(call.args, narrow, strict=True)]
        result = tvm.ir.PrimType(kind.replace(_DTYPE, "float32")) if kind else call.ty
        wide = tvm.ir.Call(call.op, operands, call.attrs, ret_ty=result)
        return tirx.Cast(kind, wide) if kind else wide

    def choose(select: Scalar) -> Scalar:
        if not _is_bfloat16(select):
            return select
        wide = tirx.Select(select.condition, _wide(select.true_value), _wide(select.false_value))
        return tirx.Cast(str(select.ty.dtype), wide)

    body = tvm_ffi.structural_map(function.body, [(tvm.ir.Call, compute), (tirx.Select, choose)], order="post")
    return function if body.same_as(function.body) else function.with_body(body)


def _is_foreign(name: str) -> bool:
    """Whether a call is one of something by its name, which takes operands as they are."""
    return name.rpartition(".")[2].startswith("call_")


def _wide(x: Scalar) -> Scalar:
    """A bfloat16 as float32."""
    return tirx.Cast(str(x.ty.dtype).replace(_DTYPE, "float32"), x)


def expand_conversions(function: PrimFunc, rounding: Callable[[int], str] | None = None) -> PrimFunc:
    """Writes conversions to and from bfloat16 out, in a function whose loops are vectorized.

    Args:
        rounding: `Instructions.rounding` of a unit that rounds; by default that is integer arithmetic.
    """

    def convert(cast: Scalar) -> Scalar:
        source, result = str(cast.value.ty.dtype), str(cast.ty.dtype)
        if source.startswith(_DTYPE):
            wide = _widened(cast.value, source.removeprefix(_DTYPE))
            return wide if result.startswith("float32") else tirx.Cast(result, wide)
        if not result.startswith(_DTYPE):
            return cast
        lanes = result.removeprefix(_DTYPE)
        value = cast.value if source.startswith("float32") else tirx.Cast(f"float32{lanes}", cast.value)
        if rounding is not None:
            name = rounding(int(lanes.removeprefix("x") or 1))
            return tirx.reinterpret(result, tirx.call_pure_extern(f"uint16{lanes}", name, value))
        return tirx.reinterpret(result, hidden.round_to_bfloat16(value))

    def choose(call: Call) -> Scalar:
        if not _is_bfloat16(call) or str(call.op.name) != _CHOICE:
            return call
        lanes = str(call.ty.dtype).removeprefix(_DTYPE)
        condition, *values = call.args
        bits = tirx.if_then_else(condition, *(tirx.reinterpret(f"uint16{lanes}", value) for value in values))
        return tirx.reinterpret(f"{_DTYPE}{lanes}", bits)

    def number(constant: Scalar) -> Scalar:
        if not _is_bfloat16(constant):
            return constant
        bits = np.array(float(constant.value), ml_dtypes.bfloat16).view(np.uint16)
        return tirx.reinterpret(_DTYPE, tirx.IntImm("uint16", int(bits)))

    def repeated(broadcast: Scalar) -> Scalar:
        if not _is_bfloat16(broadcast):
            return broadcast
        bits = tirx.Broadcast(tirx.reinterpret("uint16", broadcast.value), broadcast.lanes)
        return tirx.reinterpret(f"{_DTYPE}x{int(broadcast.lanes)}", bits)

    changes = [(tirx.Cast, convert), (tvm.ir.Call, choose), (tirx.FloatImm, number), (tirx.Broadcast, repeated)]
    # The innermost first: of a conversion there and back neither may be left to LLVM, which calls a library for it.
    return function.with_body(tvm_ffi.structural_map(function.body, changes, order="post"))


def _is_bfloat16(expression: Scalar) -> bool:
    return isinstance(expression.ty, tvm.ir.PrimType) and str(expression.ty.dtype).startswith(_DTYPE)


def _widened(value: Scalar, lanes: str) -> Scalar:
    bits = tirx.Cast(f"uint32{lanes}", tirx.reinterpret(f"uint16{lanes}", value))
    return tirx.reinterpret(f"float32{lanes}", bits << _integer(16, lanes))


def rounded(bits: Scalar) -> Scalar:
    """The upper halves of float32, rounded to nearest, ties to even, as uint16.

    Half of the last kept bit is added, a little less where that bit is 0. NaN stays NaN.

    Args:
        bits: of the float32, as uint32: a variable, since it is read several times.
    """
    lanes = str(bits.ty.dtype).removeprefix("uint32")
    odd = (bits >> _integer(16, lanes)) & _integer(1, lanes)
    nearest = (bits + odd + _integer(0x7FFF, lanes)) >> _integer(16, lanes)
    quiet = (bits >> _integer(16, lanes)) | _integer(0x40, lanes)
    is_nan = (bits & _integer(0x7FFFFFFF, lanes)) > _integer(0x7F800000, lanes)
    return tirx.Cast(f"uint16{lanes}", tirx.Select(is_nan, quiet, nearest))


def _integer(number: int, lanes: str) -> Scalar:
    one = tirx.IntImm("uint32", number)
    return tirx.Broadcast(one, int(lanes.removeprefix("x"))) if lanes else one

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
from ...ir_types import Call, Node, PrimFunc, Scalar

_DTYPE = "bfloat16"
_CHOICE = "prim.if_then_else"
_MOVES = (_CHOICE, "tirx.reinterpret")


def legalize_arithmetic(function: PrimFunc) -> PrimFunc:
    """Arithmetic in bfloat16 is done in float32, as are buffers inside; a function that only stores it is unchanged."""
    arithmetic: list[Node] = []

    def note(node: Node) -> None:
        if _is_bfloat16(node):
            arithmetic.append(node)

    def note_call(call: Call) -> None:
        if str(call.op.name) in hidden.COMPARISONS:
            note(call.args[0])
        elif str(call.op.name) not in _MOVES:
            note(call)

    tvm_ffi.structural_walk(function.body, [(tirx.Select, note), (tvm.ir.Call, note_call)])
    if not arithmetic:
        return function
    return tirx.transform.BF16ComputeLegalize()(tvm.IRModule({"main": function}))["main"]


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

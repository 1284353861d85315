"""Buffers become flat: TVM's FlattenBuffer, kept from quotients and remainders that it gets wrong.

It simplifies the flat index of every access as a map of iterations. Where something other than zero is added to what is
divided, the result may be wrong in silence: ``(22 - j) % 97`` becomes ``j % -97 * -1``, ``((j + 26) // 7 + 1) % 3``
becomes ``(j + 7) // 7`` (TVM 0.27). Such divisions are hidden from it as calls that it knows nothing of, and put back
afterwards. The others, which splitting and fusing loops makes, are what the simplification is for.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import Call, StringImm

from ...ir_types import PrimFunc, Scalar

_HIDDEN = {tirx.FloorDiv: "tilewright.floordiv", tirx.FloorMod: "tilewright.floormod"}
_SHOWN = {name: kind for kind, name in _HIDDEN.items()}


def hide_divisions(function: PrimFunc) -> PrimFunc:
    """Makes calls of the divisions that flattening would not get right."""

    def hide(division: Scalar) -> Scalar:
        if _starts_at_zero(division.a) and _is_positive(division.b):
            return division
        return tirx.call_pure_extern(str(division.ty.dtype), _HIDDEN[type(division)], division.a, division.b)

    return function.with_body(tvm_ffi.structural_map(function.body, [(kind, hide) for kind in _HIDDEN]))


def show_divisions(function: PrimFunc) -> PrimFunc:
    """Makes divisions of the calls again."""

    def show(call: Call) -> Scalar:
        name = call.args[0].value if call.args and isinstance(call.args[0], StringImm) else None
        return _SHOWN[name](*call.args[1:]) if name in _SHOWN else call

    return function.with_body(tvm_ffi.structural_map(function.body, (Call, show)))


def _starts_at_zero(expression: Scalar) -> bool:
    """Whether an index is a sum of variables times positive constants, or quotients and remainders of such sums."""
    if isinstance(expression, tirx.Var):
        return True
    if isinstance(expression, tirx.Add):
        return _starts_at_zero(expression.a) and _starts_at_zero(expression.b)
    if isinstance(expression, (tirx.Mul, tirx.FloorDiv, tirx.FloorMod)):
        return _starts_at_zero(expression.a) and _is_positive(expression.b)
    return False


def _is_positive(expression: Scalar) -> bool:
    return isinstance(expression, tirx.IntImm) and int(expression) > 0

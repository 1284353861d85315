"""Integer division and remainder with a result for every pair of operands: no operand stops the program.

x / 0 and x % 0 are 0, the smallest number / -1 is itself and its remainder 0, as in numpy (and, for quotients, on Arm).
A processor's own instruction traps, and to LLVM such a division may do anything. So the divisor is 1 where the result
would be undefined; that is the right answer for the smallest number / -1, and where the divisor is 0 the result is
replaced. Few CPUs have a vector instruction for integer division, so the two choices cost little beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax, te, tirx, topi

from ...ir_types import Scalar
from ..tensorir.expressions import constant_shape, int64s, scalar_dtype

_DIVISIONS: dict[str, Callable[[Scalar, Scalar], Scalar]] = {
    "relax.divide": tirx.truncdiv,
    "relax.floor_divide": tirx.floordiv,
    "relax.mod": tirx.truncmod,
    "relax.floor_mod": tirx.floormod,
}
OPERATORS = tuple(_DIVISIONS)


def is_integer_division(call: relax.Call) -> bool:
    """Whether a call of one of `OPERATORS` has integers."""
    return str(call.ty.dtype).startswith(("int", "uint"))


def lower_integer_division(builder: relax.BlockBuilder, call: relax.Call) -> relax.Expr:
    """Lowers a call of one of `OPERATORS` on integers, broadcast as in numpy."""
    divide = _DIVISIONS[call.op.name]
    shape = int64s(constant_shape(call))
    constant = _scalar(call.args[1])

    def compute(dividend: te.Tensor, divisor: te.Tensor | None = None) -> te.Tensor:
        a = topi.broadcast_to(dividend, shape)
        b = None if divisor is None else topi.broadcast_to(divisor, shape)

        def element(*index: Any) -> Scalar:
            by = tirx.const(constant, a.dtype) if b is None else b[index].asobject()
            return safe_division(divide, a[index].asobject(), by)

        return te.compute(shape, element, name="divide", tag=topi.tag.BROADCAST)

    operands = call.args if constant is None else call.args[:1]
    return builder.call_te(compute, *operands, primfunc_name_hint=call.op.name.removeprefix("relax."))


def safe_division(divide: Callable[[Scalar, Scalar], Scalar], a: Scalar, b: Scalar) -> Scalar:
    """``divide(a, b)`` of integers, or 0 where `b` is 0."""
    dtype = scalar_dtype(a)
    zero, one = tirx.const(0, dtype), tirx.const(1, dtype)
    if isinstance(b, tirx.IntImm) and int(b) >= 0:
        # TVM's own constant folding stops at a division by 0, and what is known divides faster.
        return divide(a, b) if int(b) else zero
    divisor = tirx.Select(b == zero, one, b)
    if dtype.startswith("int"):
        # The smallest number or 0 (for which 1 is as good a divisor as -1), since TVM takes `a == smallest` for false.
        overflows = tirx.all(b == tirx.const(-1, dtype), (a & tirx.max_value(dtype)) == zero)
        divisor = tirx.Select(overflows, one, divisor)
    return tirx.Select(b == zero, zero, divide(a, divisor))


def _scalar(expr: relax.Expr) -> int | None:
    """The value of a constant without dimensions, unless it is negative: TVM cannot negate the smallest number."""
    value = getattr(expr, "value", None)
    if value is None or not hasattr(value, "numpy") or constant_shape(expr):
        return None
    number = int(value.numpy())
    return number if number >= 0 else None

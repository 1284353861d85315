"""Operators on integers of the model that TVM's passes carry along and cannot simplify.

Numbers of the model wrap: the sum of the largest int32 and 1 is the smallest. TVM's arithmetic analyzer and LLVM, which
is told so, take integers of 32 and 64 bits for indices, which never leave their range: to them x < x + 1 always holds,
2 * x / 2 is x, and nothing equals the smallest number. So what an element-wise operator of the model does with integers
is a call of an operator named here until the last step of lowering (`compiler/lowering/write_out.py`), as floats are
(`hidden_floats.py`). Sums of narrower integers, which stay within a wider dtype, are TVM's own, and so are indices.
"""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from .hidden_floats import PREFIX, call, dtype_of, register
from .ir_types import Scalar

ADD, SUBTRACT, MULTIPLY, ABSOLUTE = (f"{PREFIX}integer_{name}" for name in ("add", "subtract", "multiply", "absolute"))
EQUAL, LESS, LESS_EQUAL = (f"{PREFIX}integer_{name}" for name in ("equal", "less", "less_equal"))
ARITHMETIC = (ADD, SUBTRACT, MULTIPLY, ABSOLUTE, EQUAL, LESS, LESS_EQUAL)

register(ARITHMETIC)


def _binary(name: str, result: str = "") -> Callable[[Scalar, Scalar], Scalar]:
    return lambda left, right: call(name, left, right, result=result)


add, subtract, multiply = map(_binary, (ADD, SUBTRACT, MULTIPLY))
equal = _binary(EQUAL, "bool")


def less(left: Scalar, right: Scalar) -> Scalar:
    """Whether one integer is less than another: none is less than the smallest, and the largest is less than none."""
    never = _is(right, tirx.min_value) or _is(left, tirx.max_value)
    return tirx.const(False, "bool") if never else call(LESS, left, right, result="bool")


def less_equal(left: Scalar, right: Scalar) -> Scalar:
    """Whether one integer is at most another, as the smallest always is."""
    always = _is(left, tirx.min_value) or _is(right, tirx.max_value)
    return tirx.const(True, "bool") if always else call(LESS_EQUAL, left, right, result="bool")


def _is(x: Scalar, end: Callable[[str], Scalar]) -> bool:
    """Whether something is the number at an end of its dtype; compilers of C warn of what needs no comparison."""
    return isinstance(x, tirx.IntImm) and int(x) == int(end(dtype_of(x)))


def not_equal(left: Scalar, right: Scalar) -> Scalar:
    """Whether two integers differ."""
    return tirx.Not(equal(left, right))


def negative(x: Scalar) -> Scalar:
    """0 - x: of the smallest number itself."""
    return subtract(tirx.const(0, dtype_of(x)), x)


def absolute(x: Scalar) -> Scalar:
    """x without its sign: the smallest number is its own."""
    return x if dtype_of(x).startswith("uint") else call(ABSOLUTE, x)

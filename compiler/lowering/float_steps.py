"""A value with hidden float operators, as steps that code generation can follow: one result after the other.

Every step is stored in a variable on the stack, a vector long, which LLVM keeps in a register. `Bind` would do the
same, but TVM's code generator puts the value of a binding wherever it is used, and that of the next, to simplify
addresses: functions of functions would take it minutes. What memory holds it does not look into.

    y = silu(a + b)        ->      step[0] = a + b;  step_1[0] = min(105, max(-105, step[0]));  ...;  y = step_20[0]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import tvm
from tvm import tirx
from tvm.ir import Call, TensorLoad

from ... import hidden_floats as hidden
from ... import hidden_integers as integers
from ...ir_types import Node, Scalar, Stmt
from ...schedules.tensorir.double_math import DOUBLES
from ...schedules.tensorir.rebuild import found, substituted
from ...schedules.tensorir.round_within import rounded_within
from ...schedules.tensorir.vector_math import EXPANSIONS, Arithmetic
from .llvm_functions import libm_call
from .rounded_bits import bfloat16_bits, float16_bits, float32_of_float16, float32_to_odd

_CHOICE = "prim.if_then_else"
# Where LLVM may fuse a product with a sum that it has reached: products of these stay apart from it.
_FUSED_DTYPES = ("float32", "float64")
_NEVER_LEFT_BITS = 32  # integers from here on
# What is no work to repeat, so that it needs no name.
_LEAVES = (tirx.Var, tirx.IntImm, tirx.FloatImm)


def is_hidden(node: Node) -> bool:
    """Whether a node calls a hidden operator."""
    return hidden.name_of(node).startswith(hidden.PREFIX)


def functions_in(node: Node) -> list[Call]:
    """The calls in an expression of functions that are written out."""
    return [call for call in found(node, Call) if hidden.name_of(call).removeprefix(hidden.PREFIX) in EXPANSIONS]


def has_hidden(node: Node) -> bool:
    """Whether a statement or an expression has hidden operators in it."""
    return any(map(is_hidden, found(node, Call)))


class Steps:
    """The steps of one statement, in order.

    Args:
        every: whether every operation on floats is a step, and not those alone that are read more than once.
        functions: the target's own, by the operators that they compute and their lanes.
    """

    def __init__(self, functions: Mapping[tuple[str, int], str] = MappingProxyType({}), *, every: bool = False) -> None:
        self.statements: list[list[Stmt]] = []  # of each step
        self._functions = functions
        self._every = every

    def name(self, value: Scalar) -> Scalar:
        """What stands for a value that is a step from now on; itself where it is a variable or a number."""
        plain = value.value if isinstance(value, tirx.Broadcast) else value
        if isinstance(plain, _LEAVES) or (isinstance(value, TensorLoad) and value.source.name == _NAME):
            return value
        variable = _variable(value)
        self.statements.append([tirx.AllocBuffer(variable), _set(variable, value)])
        return tirx.BufferLoad(variable, [0])

    def value(self, node: Scalar) -> Scalar:
        """The value of an expression, without hidden operators."""
        if not isinstance(node.ty, tvm.ir.PrimType) or not (has_hidden(node) or self._every):
            return node
        if isinstance(node, Call):
            return self._call(node)
        if hasattr(node, "b"):  # all that has two operands: arithmetic of integers, logic, shifts
            return self._step(type(node)(self.value(node.a), self.value(node.b)))
        if isinstance(node, (tirx.Not, tirx.BitwiseNot)):
            return type(node)(self.value(node.a))
        if isinstance(node, tirx.Select):
            parts = (node.condition, node.true_value, node.false_value)
            return self._step(tirx.Select(*(self.value(part) for part in parts)))
        if isinstance(node, tirx.Cast):
            return self._step(tirx.Cast(node.ty.dtype, self.value(node.value)))
        if isinstance(node, tirx.Broadcast):
            return tirx.Broadcast(self.value(node.value), node.lanes)
        if not has_hidden(node):
            return node
        if isinstance(node, tirx.Let):  # of remainders, whose operand may come of floats
            named = self.name(self.value(node.value))
            return self.value(substituted(node.body, {node.var: named}))
        if isinstance(node, tirx.Ramp):
            return tirx.Ramp(self.value(node.base), self.value(node.stride), node.lanes)
        if isinstance(node, TensorLoad):
            return tirx.BufferLoad(node.source, [self.value(index) for index in node.indices])
        raise ValueError(f"floats are computed inside of {type(node).__name__}")

    def _step(self, value: Scalar) -> Scalar:
        return self.name(value) if self._every and hidden.is_float(value) else value

    def _call(self, call: Call) -> Scalar:
        if hidden.name_of(call) == _CHOICE:
            return self._choice(*call.args)
        if not has_hidden(call):
            return self._step(call)
        operands = [self.value(operand) if isinstance(operand, tvm.ir.Expr) else operand for operand in call.args]
        name = hidden.name_of(call)
        if not is_hidden(call):
            return self._step(Call(call.op, operands, call.attrs, ret_ty=call.ty))
        own = self._functions.get((name, int(hidden.dtype_of(call).partition("x")[2] or 1)))
        if own is not None:
            return self._step(tirx.call_pure_extern(hidden.dtype_of(call), own, *operands))
        if name in _OPERATORS:
            return self._step(_OPERATORS[name](self, *operands))
        return self._function(name.removeprefix(hidden.PREFIX), *operands)

    def _function(self, name: str, x: Scalar) -> Scalar:
        kind, _, lanes = hidden.dtype_of(x).partition("x")
        if kind == "float32" and name in EXPANSIONS:
            return EXPANSIONS[name](Arithmetic(int(lanes or 1), self.name), self.name(x))
        if name in DOUBLES:
            return self.value(DOUBLES[name](self.name(x)))
        return self.name(libm_call(name, self.name(x)))

    def _choice(self, condition: Scalar, yes: Scalar, no: Scalar) -> Scalar:
        """if_then_else: what only one side computes, only that side computes."""
        condition = self.value(condition)
        sides = [Steps(self._functions, every=self._every) for _ in range(2)]
        values = [side.value(value) for side, value in zip(sides, (yes, no), strict=True)]
        if not any(side.statements for side in sides):
            return tirx.if_then_else(condition, *values)
        variable = _variable(yes)
        bodies = [sequence([*side.all(), _set(variable, value)]) for side, value in zip(sides, values, strict=True)]
        self.statements.append([tirx.AllocBuffer(variable), tirx.IfThenElse(condition, *bodies)])
        return tirx.BufferLoad(variable, [0])

    def all(self) -> list[Stmt]:
        """The statements of all steps."""
        return [statement for step in self.statements for statement in step]


_NAME = "step"


def _variable(value: Scalar) -> Scalar:
    return tirx.decl_buffer([1], hidden.dtype_of(value), _NAME, scope="local")


def _set(variable: Scalar, value: Scalar) -> Scalar:
    return tirx.BufferStore(variable, value, [0])


def sequence(statements: list[Stmt]) -> Stmt:
    """Statements as one."""
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def _apart(product: Scalar) -> Scalar:
    """A product that is rounded before anything is added to it."""
    return _fence(product) if hidden.dtype_of(product).partition("x")[0] in _FUSED_DTYPES else product


def _fence(x: Scalar) -> Scalar:
    """A float that LLVM takes for itself alone, whatever it was computed by; no instruction."""
    return tirx.call_llvm_pure_intrin(hidden.dtype_of(x), "llvm.arithmetic.fence", x)


def _is_number(x: Scalar) -> bool:
    plain = x.value if isinstance(x, tirx.Broadcast) else x
    return isinstance(plain, tirx.FloatImm) and not math.isnan(float(plain.value))


def _of_both(kind: Any) -> Callable[[Steps, Scalar, Scalar], Scalar]:
    """The larger or the smaller of two, NaN if either is: the machine's gives the second if one is NaN."""

    def of_both(steps: Steps, x: Scalar, y: Scalar) -> Scalar:
        if _is_number(x):
            return kind(x, y)
        if _is_number(y):
            return kind(y, x)
        x = steps.name(x)
        return tirx.Select(tirx.isnan(x), x, _fence(kind(x, y)))  # LLVM would make two comparisons of it

    return of_both


def _leaky_relu(steps: Steps, x: Scalar, slope: Scalar) -> Scalar:
    x = steps.name(x)
    return tirx.Select(tirx.LT(x, hidden.like(0, x)), _apart(tirx.Mul(x, slope)), x)


def _sign(steps: Steps, x: Scalar) -> Scalar:
    x, zero = steps.name(x), hidden.like(0, x)
    below = tirx.Select(tirx.LT(x, zero), hidden.like(-1, x), tirx.Add(x, zero))  # 0.0 of -0.0
    return tirx.Select(tirx.LT(zero, x), hidden.like(1, x), below)


def _power(steps: Steps, x: Scalar, y: Scalar) -> Scalar:
    """x ** y; the root of -inf is inf, that of -0.0 is 0.0, as pow has it and sqrt has not."""
    plain = y.value if isinstance(y, tirx.Broadcast) else y
    exponent = float(plain.value) if isinstance(plain, tirx.FloatImm) else 0.0
    dtype = hidden.dtype_of(x)
    if abs(exponent) != 0.5:
        return tirx.call_llvm_pure_intrin(dtype, "llvm.pow", x, y)
    x = steps.name(x)
    root = tirx.Add(tirx.call_llvm_pure_intrin(dtype, "llvm.sqrt", x), hidden.like(0, x))
    root = tirx.Select(tirx.EQ(x, hidden.like(-math.inf, x)), hidden.like(math.inf, x), root)
    return root if exponent > 0 else tirx.Div(hidden.like(1, x), root)


def _node(kind: Any) -> Callable[[Steps, Scalar, Scalar], Scalar]:
    return lambda steps, x, y: kind(x, y)


def _bits(steps: Steps, x: Scalar) -> Scalar:
    return steps.name(tirx.reinterpret(hidden.dtype_of(x).replace("float32", "uint32"), x))


def _widen_float16(steps: Steps, bits: Scalar) -> Scalar:
    wide = tirx.Cast(hidden.dtype_of(bits).replace("uint16", "uint32"), bits)
    return float32_of_float16(steps.name(wide), steps.name)


def _requantize(steps: Steps, sums: Scalar, multiplier: Scalar, zero: Scalar, low: Scalar, high: Scalar) -> Scalar:
    lanes = hidden.dtype_of(sums).partition("x")[2]
    wide = sums.astype(f"float32x{lanes}" if lanes else "float32")
    return steps.value(rounded_within(hidden.multiply(wide, multiplier), zero, low, high))


def _quantize(steps: Steps, x: Scalar, scale: Scalar, zero: Scalar, low: Scalar, high: Scalar) -> Scalar:
    return steps.value(rounded_within(hidden.divide(x, scale), zero, low, high))


def _add_product(steps: Steps, total: Scalar, x: Scalar, y: Scalar) -> Scalar:
    dtype = hidden.dtype_of(total)
    if dtype.partition("x")[0] not in _FUSED_DTYPES:
        return tirx.Add(total, tirx.Mul(x, y))
    return tirx.call_llvm_pure_intrin(dtype, "llvm.fmuladd", x, y, total)


def _wrapping(kind: Any) -> Callable[[Steps, Scalar, Scalar], Scalar]:
    """Of integers that may leave their range, which LLVM is told those of 32 and 64 bits never do.

    Computed in more bits they do not; LLVM makes one instruction of it.
    """

    def wrapping(steps: Steps, x: Scalar, y: Scalar) -> Scalar:
        dtype, _, lanes = hidden.dtype_of(x).partition("x")
        if int(x.ty.dtype.bits) < _NEVER_LEFT_BITS:
            return kind(x, y)
        # The difference of numbers without a sign may have one; their product may be too large for one.
        wide = "uint128" if kind is tirx.Mul and dtype == "uint64" else "int128"
        wide, narrow = (f"{each}x{lanes}" if lanes else each for each in (wide, dtype))
        return tirx.Cast(narrow, kind(tirx.Cast(wide, x), tirx.Cast(wide, y)))

    return wrapping


def _comparing(kind: Any) -> Callable[[Steps, Scalar, Scalar], Scalar]:
    """Of integers, one of which TVM may have taken for an index that fits fewer bits."""

    def comparing(steps: Steps, x: Scalar, y: Scalar) -> Scalar:
        widest = max((x, y), key=lambda each: int(each.ty.dtype.bits)).ty.dtype
        return kind(*(each if each.ty.dtype == widest else tirx.Cast(widest, each) for each in (x, y)))

    return comparing


def _absolute(steps: Steps, x: Scalar) -> Scalar:
    x, zero = steps.name(x), hidden.like(0, x)
    return tirx.Select(tirx.LT(x, zero), _wrapping(tirx.Sub)(steps, zero, x), x)


_OPERATORS: Mapping[str, Callable[..., Scalar]] = MappingProxyType(
    {
        integers.ADD: _wrapping(tirx.Add),
        integers.SUBTRACT: _wrapping(tirx.Sub),
        integers.MULTIPLY: _wrapping(tirx.Mul),
        integers.ABSOLUTE: _absolute,
        integers.EQUAL: _comparing(tirx.EQ),
        integers.LESS: _comparing(tirx.LT),
        integers.LESS_EQUAL: _comparing(tirx.LE),
        hidden.ADD: _node(tirx.Add),
        hidden.SUBTRACT: _node(tirx.Sub),
        hidden.MULTIPLY: lambda steps, x, y: _apart(tirx.Mul(x, y)),
        hidden.DIVIDE: _node(tirx.Div),
        hidden.REMAINDER: _node(tirx.Mod),
        hidden.POWER: _power,
        hidden.LEAKY_RELU: _leaky_relu,
        hidden.SIGN: _sign,
        hidden.ADD_PRODUCT: _add_product,
        hidden.MAXIMUM: _of_both(tirx.Max),
        hidden.MINIMUM: _of_both(tirx.Min),
        hidden.LARGER: _node(tirx.Max),
        hidden.SMALLER: _node(tirx.Min),
        hidden.EQUAL: _node(tirx.EQ),
        hidden.LESS: _node(tirx.LT),
        hidden.LESS_EQUAL: _node(tirx.LE),
        hidden.ROUND_TO_BFLOAT16: lambda steps, x: bfloat16_bits(_bits(steps, x)),
        hidden.ROUND_TO_FLOAT16: lambda steps, x: float16_bits(_bits(steps, x), steps.name),
        hidden.WIDEN_FLOAT16: _widen_float16,
        hidden.ROUND_TO_ODD_FLOAT32: lambda steps, x: float32_to_odd(steps.name(x), steps.name),
        hidden.REQUANTIZE: _requantize,
        hidden.QUANTIZE: _quantize,
        hidden.IS_NAN: lambda steps, x: tirx.isnan(x),
    }
)

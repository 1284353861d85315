"""Element-wise operators with numpy broadcasting: arithmetic, comparison, logic, bits, choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from types import MappingProxyType

import numpy as np
from tvm import relax, te, tirx, topi

from ....ir_types import Scalar
from .. import tir_power
from ..dtypes import NARROW_FLOATS, accumulator, is_float, numpy_dtype
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator

_UNARY: Mapping[str, Callable[[Expr], Expr]] = MappingProxyType(
    {
        "Abs": relax.op.abs,
        "Acos": relax.op.acos,
        "Acosh": relax.op.acosh,
        "Asin": relax.op.asin,
        "Asinh": relax.op.asinh,
        "Atan": relax.op.atan,
        "Atanh": relax.op.atanh,
        "BitwiseNot": relax.op.bitwise_not,
        "Ceil": relax.op.ceil,
        "Cos": relax.op.cos,
        "Cosh": relax.op.cosh,
        "Erf": relax.op.erf,
        "Exp": relax.op.exp,
        "Floor": relax.op.floor,
        "Log": relax.op.log,
        "Neg": relax.op.negative,
        "Not": relax.op.logical_not,
        "Sin": relax.op.sin,
        "Sinh": relax.op.sinh,
        "Sqrt": relax.op.sqrt,
        "Tan": relax.op.tan,
    }
)
_BINARY: Mapping[str, Callable[[Expr, Expr], Expr]] = MappingProxyType(
    {
        "Add": relax.op.add,
        "And": relax.op.logical_and,
        "BitwiseAnd": relax.op.bitwise_and,
        "BitwiseOr": relax.op.bitwise_or,
        "BitwiseXor": relax.op.bitwise_xor,
        "Div": relax.op.divide,  # integers: TVM's division truncates towards zero, as ONNX asks
        "Mul": relax.op.multiply,
        "Or": relax.op.logical_or,
        "Sub": relax.op.subtract,
        "Xor": relax.op.logical_xor,
    }
)
_COMPARISONS: Mapping[str, Callable[[Expr, Expr], Expr]] = MappingProxyType(
    {
        "Equal": relax.op.equal,
        "Greater": relax.op.greater,
        "GreaterOrEqual": relax.op.greater_equal,
        "Less": relax.op.less,
        "LessOrEqual": relax.op.less_equal,
    }
)
# Dtypes that are compared as another one, which holds all their values: TVM takes bfloat16 by its bits, and LLVM
# refuses its comparison of single bits.
_COMPARED_AS: Mapping[str, str] = MappingProxyType({"bool": "uint8", "bfloat16": "float32"})
_VARIADIC: Mapping[str, Callable[[Expr, Expr], Expr]] = MappingProxyType(
    {"Max": relax.op.maximum, "Min": relax.op.minimum, "Sum": relax.op.add, "Mean": relax.op.add}
)
_LAST_LEGACY_BROADCAST = 6  # up to this opset, broadcasting is asked for by attributes


@operator(*_UNARY)
def unary(node: Node) -> Result:
    """Operators of one input that Relax has under another name."""
    return _UNARY[node.op_type](node.expr(0))


@operator("Sign")
def sign(node: Node) -> Result:
    """-1, 0 or 1; no unsigned number is negative."""
    x = node.expr(0)
    return relax.op.minimum(x, node.scalar(1, dtype_of(x))) if dtype_of(x).startswith("uint") else relax.op.sign(x)


@operator("Round")
def round_half_to_even(node: Node) -> Result:
    """Round half to even: Relax's own round goes half away from zero."""

    def round_even(x: te.Tensor) -> te.Tensor:
        return te.compute(x.shape, lambda *i: tirx.nearbyint(x(*i)), name="round_even", tag=topi.tag.ELEMWISE)

    return node.emit_te(round_even, node.expr(0))


@operator("Reciprocal")
def reciprocal(node: Node) -> Result:
    """1 / x."""
    x = node.expr(0)
    return relax.op.divide(node.scalar(1, dtype_of(x)), x)


@operator(*_BINARY)
def binary(node: Node) -> Result:
    """Operators of two inputs; before opset 7 the second is aligned by the attribute `axis`."""
    return _BINARY[node.op_type](node.expr(0), aligned(node))


@operator(*_COMPARISONS)
def comparison(node: Node) -> Result:
    """Comparisons of two inputs; before opset 7 the second is aligned by the attribute `axis`."""
    x, y = node.expr(0), aligned(node)
    kind = _COMPARED_AS.get(dtype_of(x), dtype_of(x))
    return _COMPARISONS[node.op_type](_cast(x, kind), _cast(y, kind))


def aligned(node: Node) -> Expr:
    """The second operand, with its dimensions where the legacy attributes `broadcast` and `axis` put them."""
    other = node.expr(1)
    if node.opset > _LAST_LEGACY_BROADCAST or "axis" not in node.attributes or not node.attr_int("broadcast", 0):
        return other
    rank = len(node.shape(0))
    shape = shape_of(other)
    trailing = rank - node.axis(node.attr_int("axis", 0), rank) - len(shape)
    return node.emit(node.reshape(other, (*shape, *[1] * max(trailing, 0))))


@operator(*_VARIADIC)
def variadic(node: Node) -> Result:
    """Max, Min, Sum, Mean of any number of inputs."""
    given = node.dtype(0)
    dtype = accumulator(given) if node.op_type in ("Sum", "Mean") else given
    inputs = [node.emit(_cast(each, dtype)) for each in node.exprs()]
    total = reduce(lambda a, b: node.emit(_VARIADIC[node.op_type](a, b)), inputs)
    if node.op_type == "Mean" and len(inputs) > 1:
        total = node.emit(relax.op.divide(total, node.scalar(len(inputs), dtype)))
    return _cast(total, given)


@operator("Pow")
def power(node: Node) -> Result:
    """x ** y in x's dtype. Small constant exponents become products, which later passes recognise.

    Integers to the power of integers wrap, as their products do; to that of floats they are float64.
    """
    x = node.expr(0)
    dtype = dtype_of(x)
    exponent = node.constant(1)
    if exponent is not None and exponent.size == 1 and exponent.ndim <= len(shape_of(x)):
        special = _constant_power(node, x, float(exponent.item()))
        if special is not None:
            return special
    y = aligned(node)
    if is_float(dtype) and dtype not in NARROW_FLOATS:
        return relax.op.power(x, _cast(y, dtype))
    if not is_float(dtype) and not is_float(dtype_of(y)):
        shapes = shape_of(x), shape_of(y)
        if 0 in np.broadcast_shapes(*shapes):
            return np.zeros(np.broadcast_shapes(*shapes), numpy_dtype(dtype))
        return node.emit_kernel(tir_power.integer_power(*shapes, dtype, dtype_of(y)), x, y)
    wide = "float32" if is_float(dtype) else "float64"
    result = relax.op.power(_cast(x, wide), _cast(y, wide))
    return _cast(node.emit(result), dtype)


def _constant_power(node: Node, x: Expr, exponent: float) -> Expr | None:
    """x to one of the powers that are cheaper without pow."""
    if exponent == 1.0:
        return x
    if exponent == 2.0:
        return relax.op.multiply(x, x)
    if exponent == 3.0:
        return relax.op.multiply(relax.op.multiply(x, x), x)
    if not is_float(dtype_of(x)):
        return None
    if exponent == -1.0:
        return relax.op.divide(node.scalar(1, dtype_of(x)), x)
    return None


def _cast(x: Expr, dtype: str) -> Expr:
    return x if not isinstance(x, relax.Call) and dtype_of(x) == dtype else relax.op.astype(x, dtype)


@operator("Mod")
def modulo(node: Node) -> Result:
    """The remainder with the divisor's sign (fmod=0) or with the dividend's (fmod=1)."""
    given = node.dtype(0)
    truncated = node.attr_flag("fmod", False)
    if not is_float(given):
        return (relax.op.mod if truncated else relax.op.floor_mod)(node.expr(0), node.expr(1))
    return _cast(node.emit(_float_modulo(node, accumulator(given), truncated)), given)


def _float_modulo(node: Node, dtype: str, truncated: bool) -> Expr:
    a, b = (node.emit(_cast(node.expr(index), dtype)) for index in (0, 1))
    remainder = node.emit(relax.op.mod(a, b))
    if truncated:
        return remainder
    zero = node.scalar(0, dtype)
    negative = relax.op.less(b, zero)
    differs = relax.op.logical_xor(relax.op.less(remainder, zero), negative)
    moved = relax.op.where(differs, relax.op.add(remainder, b), remainder)
    # A remainder of zero has the divisor's sign too.
    signed_zero = relax.op.where(negative, node.scalar(-0.0, dtype), zero)
    return relax.op.where(relax.op.equal(remainder, zero), signed_zero, moved)


@operator("BitShift")
def bit_shift(node: Node) -> Result:
    """Shift left or right."""
    direction = node.attr_str("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        raise node.invalid(f"the attribute direction is '{direction}'")
    left = direction == "LEFT"
    bits = np.iinfo(node.dtype(0)).bits
    signed = np.iinfo(node.dtype(0)).min < 0

    def bit_shift(x: te.Tensor, amount: te.Tensor) -> te.Tensor:
        # The machine's shift counts modulo the width; here a count outside it shifts everything out.
        last, zero = tirx.const(bits - 1, amount.dtype), tirx.const(0, x.dtype)

        def element(value: Scalar, count: Scalar) -> Scalar:
            inside, safe = count <= last, tirx.min(count, last)
            if signed:  # of others C's compilers warn that none is below zero
                inside, safe = tirx.all(count >= 0, inside), tirx.max(safe, tirx.const(0, amount.dtype))
            moved = value << safe if left else value >> safe
            emptied = tirx.Select(value < 0, tirx.const(-1, x.dtype), zero) if signed and not left else zero
            return tirx.Select(inside, moved, emptied)

        return te.compute(x.shape, lambda *i: element(x(*i), amount(*i)), name="bit_shift", tag=topi.tag.ELEMWISE)

    shape = np.broadcast_shapes(node.shape(0), node.shape(1))
    return node.emit_te(bit_shift, *(relax.op.broadcast_to(node.expr(index), shape) for index in (0, 1)))


@operator("Where")
def where(node: Node) -> Result:
    """Choose from two tensors by a third."""
    return relax.op.where(node.expr(0), node.expr(1), node.expr(2))


@operator("IsNaN")
def is_nan(node: Node) -> Result:
    """The one value that differs from itself."""
    x = node.expr(0)
    return relax.op.isnan(relax.op.astype(x, "float32") if dtype_of(x) in NARROW_FLOATS else x)


@operator("IsInf")
def is_infinite(node: Node) -> Result:
    """Plus or minus infinity, each only if its flag asks for it."""
    x = node.expr(0)
    dtype = dtype_of(x)
    checks = [
        relax.op.equal(x, node.scalar(value, dtype))
        for flag, value in (("detect_positive", np.inf), ("detect_negative", -np.inf))
        if node.attr_flag(flag, True)
    ]
    if not checks:
        return np.zeros(node.shape(0), np.bool_)
    return reduce(relax.op.logical_or, checks)


@operator("Clip", since=1)
def clip_by_attributes(node: Node) -> Result:
    """Clip with bounds as attributes."""
    bounds = [
        np.asarray(node.attr_float(name, 0.0), node.dtype(0)) if name in node.attributes else None
        for name in ("min", "max")
    ]
    return _clip(node, bounds[0], bounds[1])


@operator("Clip", since=11)
def clip_by_inputs(node: Node) -> Result:
    """Clip with bounds as optional inputs."""
    low = (node.constant(1) if node.constant(1) is not None else node.expr(1)) if node.has(1) else None
    high = (node.constant(2) if node.constant(2) is not None else node.expr(2)) if node.has(2) else None
    return _clip(node, low, high)


def _clip(node: Node, low: Expr | None, high: Expr | None) -> Expr:
    """min(max(x, low), high); relu and clip where the bounds are constants, because later passes look for those.

    Where low exceeds high the result is high, so only ordered bounds make a `clip`, for which either may come first.
    """
    x = node.expr(0)
    dtype = dtype_of(x)
    known = [isinstance(bound, np.ndarray) for bound in (low, high)]
    if isinstance(low, np.ndarray) and isinstance(high, np.ndarray) and dtype not in NARROW_FLOATS and low <= high:
        return relax.op.clip(x, *(tirx.const(bound.item(), dtype) for bound in (low, high)))
    if low is not None:
        is_relu = known[0] and low.item() == 0 and not np.signbit(low) and is_float(dtype)
        bound = node.scalar(low.item(), dtype) if known[0] else low
        x = node.emit(relax.op.nn.relu(x) if is_relu else relax.op.maximum(x, _rank0(node, bound)))
    if high is not None:
        bound = node.scalar(high.item(), dtype) if known[1] else high
        x = node.emit(relax.op.minimum(x, _rank0(node, bound)))
    return x


def _rank0(node: Node, bound: Expr) -> Expr:
    return node.emit(node.reshape(bound, ())) if shape_of(bound) else bound

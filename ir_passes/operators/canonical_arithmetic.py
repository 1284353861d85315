"""What canonicalize does about arithmetic: neutral elements, masks that mask nothing, divisions, bounds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax, tirx

from ...ir_types import Call
from ..core.constants import array_of, constant, numpy_dtype, scalar_of
from ..core.graph import Expr, Var
from ..core.match import calls, is_float, keeps_shape, made_by, with_scalar
from ..core.rewriter import Rewriter, dtype_of
from .canonical_moves import same_type

Rule = Callable[[Rewriter, Var, Call], "Expr | None"]

_MASK_ELEMENTS = 1 << 22  # constants up to this size are searched for being all the same (attention masks are)


def neutral(number: float, *, right_only: bool) -> Rule:
    """Operators with a neutral element, which may also be a large constant of nothing else."""

    def rule(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
        left, right = value.args
        if _is_all(right, number) and keeps_shape(value, left):
            return left
        return right if not right_only and _is_all(left, number) and keeps_shape(value, right) else None

    return rule


def _is_all(expr: Expr, number: float) -> bool:
    array = array_of(expr)
    if array is None or array.size == 0 or array.size > _MASK_ELEMENTS or array.flat[0] != number:
        return False
    return bool((array == number).all())


def _has_sign(expr: Expr, *, negative: bool) -> bool:
    """Whether all elements of a constant have one sign, zeros too; integers have no signed zeros."""
    array = array_of(expr)
    return array is not None and (array.dtype.kind in "iub" or bool((np.signbit(array) == negative).all()))


def add(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """x + -0.0 is x; x + 0.0 is not, where x is -0.0."""
    for operand, zero in (tuple(value.args), tuple(value.args)[::-1]):
        if _is_all(zero, 0) and _has_sign(zero, negative=True) and keeps_shape(value, operand):
            return operand
    return None


def subtract(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """x - 0.0 is x."""
    left, right = value.args
    return left if _is_all(right, 0) and _has_sign(right, negative=False) and keeps_shape(value, left) else None


def softmax(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Zeros added to its operand (a mask that masks nothing) change no exponential."""
    masked = made_by(rewriter, value.args[0], "add")
    if masked is None:
        return None
    for operand, zero in (tuple(masked.args), tuple(masked.args)[::-1]):
        if _is_all(zero, 0) and keeps_shape(masked, operand):
            softmax = relax.op.nn.softmax(operand, value.attrs.axis)
            return rewriter.emit(softmax, rewriter.hint(var, value, operand))
    return None


def divide(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """x / 1 is x, and by a power of two a multiplication."""
    plain = neutral(1, right_only=True)(rewriter, var, value)
    by = scalar_of(value.args[1])
    if plain is not None or by is None or not is_float(value) or by == 0 or not np.isfinite(by):
        return plain
    exponent = float(np.log2(abs(by)))
    if not exponent.is_integer() or abs(exponent) > 14:  # 2^14 has an inverse in float16, too
        return None
    inverse = np.asarray(1 / np.asarray(array_of(value.args[1]), np.float64))
    return rewriter.emit(
        relax.op.multiply(value.args[0], constant(inverse.astype(numpy_dtype(dtype_of(value))))), var.name
    )


def where(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """A constant condition that is the same everywhere."""
    condition, yes, no = value.args
    if _is_all(condition, 1):
        return same_type(value, yes)
    return same_type(value, no) if _is_all(condition, 0) else None


def clip(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """Bounds in the dtype of the tensor (`relu6` has them as integers)."""
    dtype, bounds = dtype_of(value), list(value.args)[1:]
    if all(str(bound.ty.dtype) == dtype for bound in bounds) or not all(hasattr(bound, "value") for bound in bounds):
        return None
    if not is_float(value) or any(int(bound.value) != bound.value for bound in bounds):
        return None
    low, high = (tirx.const(float(bound.value), dtype) for bound in bounds)
    return rewriter.emit(relax.op.clip(value.args[0], low, high), var.name)


def minimum(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """min(max(x, low), high) -> clip: of the two ways to bound x the one that clip computes."""
    for operand, bound in (tuple(value.args), tuple(value.args)[::-1]):
        high = scalar_of(bound)
        if high is None:
            continue
        inner = made_by(rewriter, operand, "maximum", "nn.relu")
        if inner is None or rewriter.uses(operand) > 1 or not keeps_shape(value, operand):
            return None
        x, low = (inner.args[0], 0.0) if calls(inner, "nn.relu") else with_scalar(inner)
        if x is None or low is None or low > high or dtype_of(value) not in ("float32", "float64"):
            return None
        if not keeps_shape(inner, x):
            return None
        dtype = dtype_of(value)
        bounds = tirx.const(float(low), dtype), tirx.const(float(high), dtype)
        return rewriter.emit(relax.op.clip(x, *bounds), rewriter.hint(var, value, x))
    return None


def maximum(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """max(x, 0.0) -> relu; of -0.0 it would make 0.0."""
    operand, low = with_scalar(value)
    if operand is None or low != 0 or np.signbit(low) or not is_float(value) or not keeps_shape(value, operand):
        return None
    return rewriter.emit(relax.op.nn.relu(operand), var.name)

"""Means, differences and roots become nn.layer_norm or nn.rms_norm, and their scales and shifts go into them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...dtypes import numpy_dtype
from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import constant, scalar_of
from ..core.graph import Expr, Var
from ..core.match import axes_of, calls, is_float, keeps_shape, made_by, split_constant
from ..core.rewriter import Rewriter, dtype_of, rewrite, shape_of
from .norm_parameters import with_parameters


@dataclass(frozen=True)
class FuseLayerNorm(GraphPass):
    """(x - mean x) / sqrt(mean((x - mean x)^2) + eps) -> nn.layer_norm; x / sqrt(mean(x^2) + eps) -> nn.rms_norm.

    The square may be a product, a power or a square; the quotient a division or a product with the inverse root. Then
    multiplications of the result by a constant over the normalised axes, and for layer_norm additions, go into gamma
    and beta. Contract: the same function up to rounding.
    """

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""
        return rewrite(module, _visit)


def _visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
    if not calls(value, "divide", "multiply", "add", "subtract") or not is_float(value):
        return None
    normal = _normalise(rewriter, var, value)
    return normal if normal is not None else with_parameters(rewriter, var, value, "nn.layer_norm", "nn.rms_norm")


def _normalise(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    found = _quotient(rewriter, value)
    if found is None:
        return None
    centred, mean_square, epsilon = found
    rank = value.ty.ndim
    if not _is_square_of(rewriter, mean_square.args[0], centred) or not mean_square.attrs.keepdims:
        return None
    axes = axes_of(mean_square, rank)
    shape, dtype = shape_of(centred), dtype_of(centred)
    if shape is None or not keeps_shape(value, centred):
        return None
    inner = [shape[axis] for axis in axes]
    ones = constant(np.ones(inner, numpy_dtype(dtype)))
    x = _mean_taken_off(rewriter, centred, axes)
    if x is not None:
        beta = constant(np.zeros(inner, numpy_dtype(dtype)))
        normal = relax.op.nn.layer_norm(x, ones, beta, axes=list(axes), epsilon=epsilon)
        return rewriter.emit(normal, rewriter.hint(var, value, x))
    normal = relax.op.nn.rms_norm(centred, ones, axes=list(axes), epsilon=epsilon)
    return rewriter.emit(normal, rewriter.hint(var, value, centred))


def _quotient(rewriter: Rewriter, value: Call) -> tuple[Expr, Call, float] | None:
    """(d, the mean, eps) of d / sqrt(mean + eps), d * rsqrt(mean + eps), or d * (1 / sqrt(mean + eps))."""
    if calls(value, "divide"):
        pairs = [(value.args[0], _root(rewriter, value.args[1]))]
    elif calls(value, "multiply"):
        left, right = value.args
        pairs = [(left, _inverse_root(rewriter, right)), (right, _inverse_root(rewriter, left))]
    else:
        return None
    for numerator, root in pairs:
        total = made_by(rewriter, root.args[0], "add") if root is not None else None
        parts = split_constant(total) if total is not None else None
        if parts is None:
            continue
        epsilon, mean = scalar_of(parts[1]), made_by(rewriter, parts[0], "mean")
        if epsilon is not None and mean is not None:
            return numerator, mean, float(epsilon)
    return None


def _inverse_root(rewriter: Rewriter, expr: Expr) -> Call | None:
    """The call of rsqrt, or of the sqrt under a reciprocal, that makes `expr`."""
    root = made_by(rewriter, expr, "rsqrt")
    if root is not None:
        return root
    reciprocal = made_by(rewriter, expr, "divide")
    if reciprocal is not None and scalar_of(reciprocal.args[0]) == 1:
        return _root(rewriter, reciprocal.args[1])
    return _power(rewriter, expr, -0.5)


def _root(rewriter: Rewriter, expr: Expr) -> Call | None:
    """The call of sqrt, or of a power of 1/2, that makes `expr`: of a mean of squares they are the same."""
    root = made_by(rewriter, expr, "sqrt")
    return root if root is not None else _power(rewriter, expr, 0.5)


def _power(rewriter: Rewriter, expr: Expr, exponent: float) -> Call | None:
    power = made_by(rewriter, expr, "power")
    return power if power is not None and scalar_of(power.args[1]) == exponent else None


def _is_square_of(rewriter: Rewriter, expr: Expr, base: Expr) -> bool:
    value = made_by(rewriter, expr, "multiply", "square", "power")
    if value is None or not value.args[0].same_as(base):
        return False
    if calls(value, "multiply"):
        return bool(value.args[1].same_as(base))
    return calls(value, "square") or scalar_of(value.args[1]) == 2


def _mean_taken_off(rewriter: Rewriter, centred: Expr, axes: tuple[int, ...]) -> Expr | None:
    """x where `centred` is x - mean(x) along the same axes."""
    difference = made_by(rewriter, centred, "subtract")
    if difference is None:
        return None
    x, mean = difference.args[0], made_by(rewriter, difference.args[1], "mean")
    same = mean is not None and mean.args[0].same_as(x) and mean.attrs.keepdims
    return x if same and axes_of(mean, x.ty.ndim) == axes else None

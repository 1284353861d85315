"""Constant scales and shifts by channel go into the weights and the bias of the convolution or product beside them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant, numpy_dtype
from ..core.graph import Expr, Var
from ..core.match import calls, is_float, keeps_shape, made_by, only_use, split_constant
from ..core.rewriter import Rewriter, dtype_of, rebuild, rewrite, shape_of
from ..core.sources import is_named
from .linear import Linear, find_linear


@dataclass(frozen=True)
class FoldBatchNorm(GraphPass):
    """Fold multiplications and additions by constants a channel into convolutions and matmuls with constant weights.

    After the operator: `f(x, W) * s + t` becomes `f(x, W s) + t`, `(f(x, W) + b) * s + t` becomes `f(x, W s) + (b s +
    t)`: at most one addition, the bias, is left. Before it: `f(x * s, W)` becomes `f(x, s W)`, and `f(x + t, W)`
    becomes `f(x, W) + f(t, W)` where no padding stands between. Inference-time `nn.batch_norm` is first written as a
    multiplication and an addition. For convolutions and transposed convolutions of any rank and grouping, in ONNX's
    layouts, and for matmuls with a constant right operand. New weights are computed in float64 and rounded once.

    Contract: outputs change by rounding alone; a scaled value that something else reads is left as it is, and so is
    one whose weights would leave the range of their dtype. In half precision nothing moves past a sum.

    Options:
        keep: names of nodes whose results must stay as the model has them, for scales of integers are known of those.
    """

    keep: frozenset[str] = frozenset()

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            if isinstance(value, relax.TupleGetItem):
                return _written_out(rewriter, var, value)
            if not is_float(value):
                return None
            if calls(value, "multiply", "divide"):
                return _scale_after(rewriter, var, value)
            if calls(value, "add", "subtract"):
                return _shift_after(rewriter, var, value)
            linear = find_linear(value)
            if linear is None or is_named(linear.call.args[0], self.keep):
                return None
            return _before(rewriter, var, value, linear)

        return rewrite(module, visit)


def _written_out(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    """The first result of nn.batch_norm with constant parameters, as x * scale + shift."""
    call = made_by(rewriter, value.tuple_value, "nn.batch_norm")
    if call is None or value.index != 0 or getattr(call.attrs, "training", False):
        return None
    parameters = [array_of(parameter) for parameter in call.args[1:]]
    if any(parameter is None for parameter in parameters):
        return None
    gamma, beta, mean, variance = (np.asarray(parameter, np.float64) for parameter in parameters)
    scale = (gamma if call.attrs.scale else 1.0) / np.sqrt(variance + float(call.attrs.epsilon))
    shift = (beta if call.attrs.center else 0.0) - mean * scale
    x = call.args[0]
    along = [1] * (x.ty.ndim - int(call.attrs.axis) % x.ty.ndim)
    along[0] = -1
    dtype = numpy_dtype(dtype_of(x))
    scaled = rewriter.emit(relax.op.multiply(x, constant(scale.reshape(along).astype(dtype))), var.name)
    return rewriter.emit(relax.op.add(scaled, constant(shift.reshape(along).astype(dtype))), var.name)


def by_channel(expr: Expr, shape: tuple[int, ...], axis: int) -> Array | None:
    """A constant operand as a vector along `axis` of `shape` (float64), if it varies along no other axis."""
    array = array_of(expr)
    if array is None or array.ndim > len(shape):
        return None
    full = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if any(full.shape[index] != 1 for index in range(full.ndim) if index != axis):
        return None
    return np.broadcast_to(full.reshape(-1).astype(np.float64), (shape[axis],))


def _constant_by_channel(rewriter: Rewriter, value: Call) -> tuple[Expr, Expr, Linear, Array | None] | None:
    """For x * c or x + c: (x, c, the linear operator that x is or is the biased result of, its bias or None)."""
    parts = (value.args[0], value.args[1]) if calls(value, "divide", "subtract") else split_constant(value)
    if parts is None or array_of(parts[1]) is None or not only_use(rewriter, parts[0]):
        return None
    if not isinstance(parts[0].ty, relax.TensorType) or not keeps_shape(value, parts[0]):
        return None
    call = rewriter.definition(parts[0])
    bias = None
    if calls(call, "add"):
        inner = split_constant(call)
        if inner is None or not only_use(rewriter, inner[0]) or not keeps_shape(call, inner[0]):
            return None
        call, bias_expr = rewriter.definition(inner[0]), inner[1]
        linear = find_linear(call)
        shape = shape_of(value)
        if linear is None or shape is None:
            return None
        bias = by_channel(bias_expr, shape, linear.channel_axis)
        return (*parts, linear, bias) if bias is not None else None
    linear = find_linear(call)
    return (*parts, linear, None) if linear is not None else None


def _scale_after(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    found = _constant_by_channel(rewriter, value)
    shape = shape_of(value)
    if found is None or shape is None:
        return None
    _, factor, linear, bias = found
    scale = by_channel(factor, shape, linear.channel_axis)
    if scale is None or (calls(value, "divide") and not scale.all()):
        return None
    if calls(value, "divide"):
        scale = 1 / scale
    if bias is not None and linear.is_narrow:
        return None  # the product alone may leave the range that its sum with the bias keeps
    hint = rewriter.hint(var, value, linear.call.args[0])
    scaled = linear.with_weights(linear.scaled_outputs(scale))
    if scaled is None or bias is None:
        return rewriter.emit(scaled, hint) if scaled is not None else None
    summand = _bias_constant(bias * scale, linear)
    if summand is None:
        return None
    return rewriter.emit(relax.op.add(rewriter.emit(scaled, hint), summand), hint)


def _shift_after(rewriter: Rewriter, var: Var, value: Call) -> Expr | None:
    found = _constant_by_channel(rewriter, value)
    shape = shape_of(value)
    if found is None or shape is None:
        return None
    operand, summand, linear, bias = found
    shift = by_channel(summand, shape, linear.channel_axis)
    if shift is None or bias is None:
        return None
    sign = -1.0 if calls(value, "subtract") else 1.0
    inner = split_constant(rewriter.definition(operand))
    total = _bias_constant(bias + sign * shift, linear)
    if inner is None or total is None:
        return None
    return rewriter.emit(relax.op.add(inner[0], total), rewriter.hint(var, value, inner[0]))


def _bias_constant(bias: Array, linear: Linear) -> Expr | None:
    """One number a channel of the result, to be added; None where one leaves the range of the result's dtype."""
    along = [1] * (linear.call.ty.ndim - linear.channel_axis)
    along[0] = -1
    with np.errstate(all="ignore"):
        rounded = bias.reshape(along).astype(linear.weights.dtype)
    return constant(rounded) if np.isfinite(rounded).all() else None


def _before(rewriter: Rewriter, var: Var, value: Call, linear: Linear) -> Expr | None:
    """f(x * s, W) and f(x + t, W)."""
    operand = linear.call.args[0]
    inner = made_by(rewriter, operand, "multiply", "add")
    parts = split_constant(inner) if inner is not None and only_use(rewriter, operand) else None
    shape = shape_of(operand)
    if parts is None or shape is None or not keeps_shape(inner, parts[0]):
        return None
    vector = by_channel(parts[1], shape, linear.operand_axis)
    if vector is None:
        return None
    x, rest = parts[0], list(value.args)[1:]
    hint = rewriter.hint(var, value, x)
    if calls(inner, "multiply"):
        scaled = linear.with_weights(linear.scaled_inputs(vector), x)
        return rewriter.emit(scaled, hint) if scaled is not None else None
    bias = linear.applied_to(vector) if not linear.is_narrow else None
    summand = _bias_constant(bias, linear) if bias is not None else None
    if summand is None:
        return None
    # The operator itself stays: only what was added before it moves behind it, and takes its names along.
    product = rewriter.emit(rebuild(value, [x, *rest]), var.name)
    return rewriter.emit(relax.op.add(product, summand), operand.name, var.name)

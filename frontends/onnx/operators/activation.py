"""Activation functions, and softmax with its relatives."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax, tirx

from ....ir_passes.dialect import float_functions as functions
from .. import tir_extrema
from ..dtypes import NARROW_FLOATS, numpy_dtype
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator

_SELU_ALPHA = 1.67326319217681884765625
_SELU_GAMMA = 1.05070102214813232421875
_LAST_FLATTENING_SOFTMAX = 12  # up to this opset softmax runs over all dimensions from `axis` on


@operator("Relu")
def relu(node: Node) -> Result:
    """max(x, 0)."""
    return relax.op.nn.relu(node.expr(0))


@operator("Sigmoid")
def sigmoid(node: Node) -> Result:
    """1 / (1 + exp(-x))."""
    return relax.op.sigmoid(node.expr(0))


@operator("Tanh")
def tanh(node: Node) -> Result:
    """Hyperbolic tangent."""
    return relax.op.tanh(node.expr(0))


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Result:
    """x, or alpha * x where negative."""
    return relax.op.nn.leakyrelu(node.expr(0), node.attr_float("alpha", 0.01))


@operator("PRelu")
def prelu(node: Node) -> Result:
    """x, or slope * x where negative; the slope broadcasts to x, before opset 7 along the channels."""
    x, slope = node.expr(0), node.expr(1)
    rank = len(shape_of(x))
    if node.opset < 7 and len(shape_of(slope)) == 1 and rank > 1:
        slope = node.emit(node.reshape(slope, (shape_of(slope)[0], *[1] * (rank - 2))))
    return _where_negative(node, x, relax.op.multiply(x, slope))


def _where_negative(node: Node, x: Expr, otherwise: Expr) -> Expr:
    """x where it is not negative: infinity and NaN stay what they are."""
    negative = node.emit(relax.op.less(x, node.scalar(0, dtype_of(x))))
    return node.emit(relax.op.where(negative, otherwise, x))


def _exponential_tail(node: Node, x: Expr, alpha: float, beta: float = 1.0) -> Expr:
    """alpha * (exp(beta * x) - 1) where x is negative, else x: ELU and its relatives."""
    dtype = dtype_of(x)
    scaled = x if beta == 1.0 else node.emit(relax.op.multiply(x, node.scalar(beta, dtype)))
    grown = node.emit(functions.expm1(scaled))
    grown = grown if alpha == 1.0 else node.emit(relax.op.multiply(grown, node.scalar(alpha, dtype)))
    return _where_negative(node, x, grown)


@operator("Elu")
def elu(node: Node) -> Result:
    """x, or alpha * (exp(x) - 1) where negative."""
    return _exponential_tail(node, node.expr(0), node.attr_float("alpha", 1.0))


@operator("Celu")
def celu(node: Node) -> Result:
    """x, or alpha * (exp(x / alpha) - 1) where negative."""
    alpha = node.attr_float("alpha", 1.0)
    return _exponential_tail(node, node.expr(0), alpha, 1.0 / alpha)


@operator("Selu")
def selu(node: Node) -> Result:
    """gamma * x, or gamma * alpha * (exp(x) - 1) where negative. Opsets before 6 have shorter defaults."""
    x = node.expr(0)
    alpha = node.attr_float("alpha", _SELU_ALPHA if node.opset >= 6 else 1.6732)
    gamma = node.attr_float("gamma", _SELU_GAMMA if node.opset >= 6 else 1.0507)
    return relax.op.multiply(_exponential_tail(node, x, alpha), node.scalar(gamma, dtype_of(x)))


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Result:
    """alpha * x + beta, kept between 0 and 1."""
    return _hard_sigmoid(node, node.expr(0), node.attr_float("alpha", 0.2), node.attr_float("beta", 0.5))


def _hard_sigmoid(node: Node, x: Expr, alpha: float, beta: float) -> Expr:
    dtype = dtype_of(x)
    line = relax.op.add(relax.op.multiply(x, node.scalar(alpha, dtype)), node.scalar(beta, dtype))
    if dtype in NARROW_FLOATS:
        return relax.op.minimum(relax.op.maximum(line, node.scalar(0, dtype)), node.scalar(1, dtype))
    return relax.op.clip(line, tirx.const(0, dtype), tirx.const(1, dtype))


@operator("HardSwish")
def hard_swish(node: Node) -> Result:
    """x * hard_sigmoid(x) with alpha 1/6 and beta 1/2."""
    x = node.expr(0)
    return relax.op.multiply(x, _hard_sigmoid(node, x, 1.0 / 6.0, 0.5))


@operator("Softplus")
def softplus(node: Node) -> Result:
    """log(1 + exp(x))."""
    return functions.softplus(node.expr(0))


@operator("Mish")
def mish(node: Node) -> Result:
    """x * tanh(softplus(x))."""
    return functions.mish(node.expr(0))


@operator("Softsign")
def softsign(node: Node) -> Result:
    """x / (1 + |x|)."""
    x = node.expr(0)
    return relax.op.divide(x, relax.op.add(relax.op.abs(x), node.scalar(1, dtype_of(x))))


@operator("Swish")
def swish(node: Node) -> Result:
    """x * sigmoid(alpha * x)."""
    x = node.expr(0)
    alpha = node.attr_float("alpha", 1.0)
    if alpha == 1.0:
        return relax.op.nn.silu(x)
    return relax.op.multiply(x, relax.op.sigmoid(relax.op.multiply(x, node.scalar(alpha, dtype_of(x)))))


@operator("ThresholdedRelu")
def thresholded_relu(node: Node) -> Result:
    """x where it exceeds alpha, else 0."""
    x = node.expr(0)
    dtype = dtype_of(x)
    above = relax.op.greater(x, node.scalar(node.attr_float("alpha", 1.0), dtype))
    return relax.op.where(above, x, node.scalar(0, dtype))


@operator("Shrink")
def shrink(node: Node) -> Result:
    """x moved towards 0 by bias where it lies beyond lambd, else 0."""
    x = node.expr(0)
    dtype = dtype_of(x)
    lambd, bias = node.attr_float("lambd", 0.5), node.attr_float("bias", 0.0)
    # The threshold is a float even for integer tensors.
    wide = x if dtype == "float64" else relax.op.astype(x, "float32")
    wide_dtype = "float64" if dtype == "float64" else "float32"
    wide = node.emit(wide)
    bias_const, zero = node.scalar(bias, wide_dtype), node.scalar(0, wide_dtype)
    below = relax.op.less(wide, node.scalar(-lambd, wide_dtype))
    above = relax.op.greater(wide, node.scalar(lambd, wide_dtype))
    inner = relax.op.where(above, relax.op.subtract(wide, bias_const), zero)
    result = relax.op.where(below, relax.op.add(wide, bias_const), inner)
    return result if dtype == wide_dtype else relax.op.astype(result, dtype)


@operator("Gelu")
def gelu(node: Node) -> Result:
    """x * Phi(x), exactly or by tanh."""
    approximate = node.attr_str("approximate", "none")
    if approximate not in ("none", "tanh"):
        raise node.invalid(f"the attribute approximate is '{approximate}'")
    return (relax.op.nn.gelu_tanh if approximate == "tanh" else relax.op.nn.gelu)(node.expr(0))


@operator("Softmax", "LogSoftmax", "Hardmax")
def softmax(node: Node) -> Result:
    """Softmax and relatives along one axis; up to opset 12 along all dimensions from `axis` on, taken as one."""
    x = node.expr(0)
    shape = shape_of(x)
    if 0 in shape:
        return x
    flattening = node.opset <= _LAST_FLATTENING_SOFTMAX
    axis = node.axis(node.attr_int("axis", 1 if flattening else -1), len(shape))
    convert = {"Softmax": relax.op.nn.softmax, "LogSoftmax": relax.op.nn.log_softmax}.get(node.op_type)
    if not flattening or axis == len(shape) - 1:
        return convert(x, axis) if convert else _hardmax(node, x, axis)
    flat = node.emit(node.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:]))))
    result = convert(flat, 1) if convert else _hardmax(node, flat, 1)
    return node.reshape(result, shape)


def _hardmax(node: Node, x: Expr, axis: int) -> Expr:
    """1 at the first maximum along an axis, else 0."""
    shape = shape_of(x)
    positions = np.arange(shape[axis], dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    first = tir_extrema.position_of_extremum(node, x, axis, largest=True, last=False, keepdims=True)
    hit = node.emit(relax.op.equal(node.emit(positions), first))
    one, zero = (np.asarray(value, numpy_dtype(dtype_of(x))) for value in (1, 0))
    return relax.op.where(hit, node.emit(one), node.emit(zero))

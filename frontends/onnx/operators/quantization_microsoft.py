"""Quantized operators of ONNX Runtime's own domain, which its quantizer and its optimizer write.

Sums of products are integers; the others are computed in float between a dequantize and a quantize.
"""

from __future__ import annotations

import math

from tvm import relax

from .. import quantized
from ..node import Expr, Node, Result, shape_of
from ..registry import operator
from .contrib_attention import attention
from .quantization import dequantize_linear, integer_product, quantize_linear

_DOMAIN = "com.microsoft"

operator("QuantizeLinear", domain=_DOMAIN)(quantize_linear)
operator("DequantizeLinear", domain=_DOMAIN)(dequantize_linear)


def _given(node: Node, index: int) -> Expr:
    """Input `index` as floats; its scale and its zero point follow it."""
    shape = node.shape(index)
    scale, zero = quantized.parameter(node, index + 1, shape, 0), quantized.zero_point(node, index + 2, shape, 0)
    return quantized.to_float(node, quantized.integers(node, index), scale, zero)


def _result(node: Node, x: Expr, scale: int, dtype: str) -> Expr:
    """Floats as the integers that input `scale` and the zero point behind it say."""
    x = node.emit(x)
    shape = shape_of(x)
    zero = quantized.zero_point(node, scale + 1, shape, 0)
    return quantized.to_integers(node, x, quantized.parameter(node, scale, shape, 0), zero, dtype)


@operator("QLinearAdd", domain=_DOMAIN)
def qlinear_add(node: Node) -> Result:
    """A + B."""
    return _result(node, relax.op.add(_given(node, 0), _given(node, 3)), 6, node.dtype(0))


@operator("QLinearMul", domain=_DOMAIN)
def qlinear_mul(node: Node) -> Result:
    """A * B."""
    return _result(node, relax.op.multiply(_given(node, 0), _given(node, 3)), 6, node.dtype(0))


@operator("QLinearConcat", domain=_DOMAIN)
def qlinear_concat(node: Node) -> Result:
    """Tensors of several scales, one behind the other in the scale of the result, which comes first."""
    parts = [_given(node, index) for index in range(2, len(node.inputs), 3)]
    axis = node.axis(node.attr_int("axis", 0), len(shape_of(parts[0])))
    return _result(node, relax.op.concat(parts, axis), 0, node.dtype(2))


@operator("QLinearSigmoid", domain=_DOMAIN)
def qlinear_sigmoid(node: Node) -> Result:
    """1 / (1 + exp(-x))."""
    return _result(node, relax.op.sigmoid(_given(node, 0)), 3, node.dtype(0))


@operator("QLinearLeakyRelu", domain=_DOMAIN)
def qlinear_leaky_relu(node: Node) -> Result:
    """x, or alpha * x where x is negative."""
    alpha = node.attr_float("alpha", 0.01)
    return _result(node, relax.op.nn.leakyrelu(_given(node, 0), alpha), 3, node.dtype(0))


@operator("QLinearGlobalAveragePool", domain=_DOMAIN)
def qlinear_global_average_pool(node: Node) -> Result:
    """The mean of every channel."""
    x = _given(node, 0)
    rank = len(shape_of(x))
    axes = list(range(1, rank - 1) if node.attr_flag("channels_last", False) else range(2, rank))
    return _result(node, relax.op.mean(x, axes, keepdims=True), 3, node.dtype(0))


@operator("QLinearSoftmax", domain=_DOMAIN)
def qlinear_softmax(node: Node) -> Result:
    """exp(x) / sum(exp(x)) along an axis; up to opset 12 of ONNX over all axes from it on."""
    x = _given(node, 0)
    shape = shape_of(x)
    axis = node.axis(node.attr_int("axis", -1), len(shape))
    if node.attr_int("opset", 13) >= 13:
        return _result(node, relax.op.nn.softmax(x, axis), 3, node.dtype(0))
    rows = node.reshape(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))
    return _result(node, node.reshape(relax.op.nn.softmax(rows, -1), shape), 3, node.dtype(0))


@operator("QGemm", domain=_DOMAIN)
def qgemm(node: Node) -> Result:
    """alpha * A B + C: integers where there is a scale of the result, else floats; C is int32 in the scale of sums."""
    left, right = (
        _transposed(node, quantized.centered(node, index, zero, axis), flag)
        for index, zero, flag, axis in (
            (0, 2, "transA", 0),
            (3, 5, "transB", 0 if node.attr_flag("transB", False) else 1),
        )
    )
    sums = node.emit(relax.op.matmul(left, right))
    if node.has(6):
        sums = node.emit(relax.op.add(sums, node.expr(6)))
    shape = shape_of(sums)
    lhs, rhs = (quantized.parameter(node, index, shape, 1) for index in (1, 4))
    lhs = node.emit(relax.op.multiply(lhs, node.scalar(node.attr_float("alpha", 1.0), "float32")))
    if node.has(7):
        result = quantized.parameter(node, 7, shape, 1)
        dtype = node.dtype(8) if node.has(8) else node.dtype(0)
        return quantized.rescaled(node, sums, [lhs, rhs, result], quantized.zero_point(node, 8, (), 0), dtype)
    return quantized.to_float(node, sums, node.emit(relax.op.multiply(lhs, rhs)), node.scalar(0, "int32"))


def _transposed(node: Node, x: Expr, flag: str) -> Expr:
    return node.emit(relax.op.permute_dims(x, [1, 0])) if node.attr_flag(flag, False) else x


@operator("MatMulIntegerToFloat", domain=_DOMAIN)
def matmul_integer_to_float(node: Node) -> Result:
    """The product of integers as floats, and a bias in floats."""
    sums = integer_product(node, (0, 4), (1, 5))
    shape = shape_of(sums)
    lhs, rhs = (quantized.parameter(node, index, shape, len(shape) - 1) for index in (2, 3))
    return _with_bias(node, _floats(node, sums, lhs, rhs), 6)


@operator("DynamicQuantizeMatMul", domain=_DOMAIN)
def dynamic_quantize_matmul(node: Node) -> Result:
    """Floats quantized by their range, times a matrix of integers, and a bias in floats."""
    x, scale, zero = quantized.quantized_by_range(node, node.expr(0))
    left = node.emit(
        relax.op.subtract(node.emit(relax.op.astype(x, "int32")), node.emit(relax.op.astype(zero, "int32")))
    )
    right = quantized.centered(node, 1, 3, max(len(node.shape(1)) - 1, 0))
    sums = node.emit(relax.op.matmul(left, right))
    rhs = quantized.parameter(node, 2, shape_of(sums), len(shape_of(sums)) - 1)
    return _with_bias(node, _floats(node, sums, scale, rhs), 4)


@operator("QAttention", domain=_DOMAIN)
def qattention(node: Node) -> Result:
    """Self-attention whose projection multiplies integers."""
    operands = []
    for index, scale, zero, axis in ((0, 3, 6, 0), (1, 4, 7, 1)):
        shape = node.shape(index)
        parameters = quantized.parameter(node, scale, shape, axis), quantized.zero_point(node, zero, shape, axis)
        operands.append(quantized.to_float(node, quantized.integers(node, index), *parameters))
    bias, mask, past = (node.inputs[index] if node.has(index) else None for index in (2, 5, 8))
    return attention(node.with_inputs([*operands, bias, mask, past]))


def _floats(node: Node, sums: Expr, lhs: Expr, rhs: Expr) -> Expr:
    scale = node.emit(relax.op.multiply(lhs, rhs))
    return quantized.to_float(node, sums, scale, node.scalar(0, "int32"))


def _with_bias(node: Node, x: Expr, index: int) -> Expr:
    return relax.op.add(x, node.expr(index)) if node.has(index) else x

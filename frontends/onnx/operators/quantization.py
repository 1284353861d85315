"""Quantized tensors: ONNX's pairs of quantize and dequantize, and its operators on integers."""

from __future__ import annotations

import numpy as np
from tvm import relax

from .. import quantized
from ..in_flight import Narrow
from ..narrow import decoded
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator
from ..windows import cropped, read_window
from .convolution import CONVOLUTIONS, check_channels, spatial_rank


@operator("QuantizeLinear")
def quantize_linear(node: Node) -> Result:
    """saturate(round(x / scale) + zero_point); one scale, one a place on the axis, or one a block of them."""
    x, shape = node.expr(0), node.shape(0)
    dtype = node.dtype(2) if node.has(2) else quantized.named_dtype(node, "output_dtype") or "uint8"
    if not quantized.is_whole(dtype):
        raise node.unsupported(f"quantizing to {dtype} is not supported")
    axis, block = _axis(node, len(shape))
    scale = quantized.parameter(node, 1, shape, axis, block)
    zero = quantized.zero_point(node, 2, shape, axis, block)
    precision = quantized.named_dtype(node, "precision") or dtype_of(scale)
    x = node.emit(node.reshape(x, quantized.in_blocks(shape, axis, block))) if block else x
    x, scale = (node.emit(relax.op.astype(each, precision)) for each in (x, scale))
    integers = quantized.to_integers(node, x, scale, zero, dtype)
    return node.reshape(integers, shape) if block else integers


@operator("DequantizeLinear")
def dequantize_linear(node: Node) -> Result:
    """(x - zero_point) * scale."""
    shape, known = node.shape(0), node.constant(0)
    axis, block = _axis(node, len(shape))
    scale = quantized.parameter(node, 1, shape, axis, block)
    dtype = quantized.named_dtype(node, "output_dtype") or node.dtype(1)
    narrow = any(isinstance(value, Narrow) for value in node.inputs)
    if narrow:  # float32 holds all of their numbers
        inputs = [decoded(node, v.codes, v.dtype, "float32") if isinstance(v, Narrow) else v for v in node.inputs]
        node = node.with_inputs([node.emit(v) if isinstance(v, relax.Expr) else v for v in inputs])
    if narrow or (known is not None and not quantized.is_whole(node.dtype(0))):  # floats of 8 and 4 bits
        wide = node.expr(0) if known is None else node.emit(known.astype(np.float32))
        wide = node.emit(node.reshape(wide, quantized.in_blocks(shape, axis, block))) if block else wide
        if node.has(2):
            zero = quantized.parameter(node, 2, shape, axis, block)
            wide = node.emit(relax.op.subtract(wide, node.emit(relax.op.astype(zero, "float32"))))
        product = relax.op.multiply(wide, node.emit(relax.op.astype(scale, "float32")))
        result = relax.op.astype(node.emit(product), dtype)
        return node.reshape(node.emit(result), shape) if block else result
    zero = quantized.zero_point(node, 2, shape, axis, block)
    whole = quantized.integers(node, 0)
    if not block:
        return quantized.to_float(node, whole, scale, zero, dtype)
    whole = node.emit(node.reshape(whole, quantized.in_blocks(shape, axis, block)))
    return node.reshape(quantized.to_float(node, whole, scale, zero, dtype), shape)


def _axis(node: Node, rank: int) -> tuple[int, int]:
    """The axis that scales are along, and how many places share one."""
    block = max(node.attr_int("block_size", 0), 0)
    single = all(extent == 1 for extent in node.shape(1)) and not block
    return (0 if single else node.axis(node.attr_int("axis", 1), rank)), block


@operator("MatMulInteger")
def matmul_integer(node: Node) -> Result:
    """(A - zero points of rows) (B - zero points of columns), in int32."""
    return integer_product(node, (0, 2), (1, 3))


@operator("QLinearMatMul")
def qlinear_matmul(node: Node) -> Result:
    """A product of integers, requantized."""
    sums = integer_product(node, (0, 2), (3, 5))
    rank = len(shape_of(sums))
    scales = [
        _of_product(node, 1, shape_of(sums), rank - 2),
        _of_product(node, 4, shape_of(sums), rank - 1),
        node.emit(node.reshape(node.expr(6), ())),
    ]
    zero = quantized.zero_point(node, 7, (), 0)
    return quantized.rescaled(node, sums, scales, zero, node.dtype(7))


def integer_product(node: Node, lhs: tuple[int, int], rhs: tuple[int, int]) -> Expr:
    """The product in int32 of two inputs less their zero points; each is given by the numbers of both inputs."""
    left = _centered_matrix(node, *lhs, axis=-2)
    right = _centered_matrix(node, *rhs, axis=-1)
    return node.emit(relax.op.matmul(left, right))


def _centered_matrix(node: Node, index: int, zero: int, axis: int) -> Expr:
    rank = len(node.shape(index))
    if node.has(zero) and len(node.shape(zero)) > 1:  # one for each row of each matrix
        x = node.emit(relax.op.astype(node.expr(index), "int32"))
        return node.emit(relax.op.subtract(x, node.emit(relax.op.astype(node.expr(zero), "int32"))))
    return quantized.centered(node, index, zero, max(rank + axis, 0))


def _of_product(node: Node, index: int, shape: tuple[int, ...], axis: int) -> Expr:
    """A scale of rows or of columns as it broadcasts to the result."""
    if len(node.shape(index)) > 1:
        return node.expr(index)
    return quantized.parameter(node, index, shape, axis)


@operator("ConvInteger")
def convolution_integer(node: Node) -> Result:
    """A convolution of integers less their zero points, in int32; what is padded counts as the zero point."""
    return integer_convolution(node, (0, 2), (1, 3))


@operator("QLinearConv")
def qlinear_convolution(node: Node) -> Result:
    """A convolution of integers with a bias in int32, requantized."""
    sums = integer_convolution(node, (0, 2), (3, 5))
    if node.has(8):
        sums = node.emit(relax.op.add(sums, quantized.parameter(node, 8, shape_of(sums), 1)))
    scales = [quantized.parameter(node, index, shape_of(sums), 1) for index in (1, 4, 6)]
    return quantized.rescaled(node, sums, scales, quantized.zero_point(node, 7, (), 0), node.dtype(7))


def integer_convolution(node: Node, data: tuple[int, int], weights: tuple[int, int]) -> Expr:
    """The convolution in int32 of two inputs less their zero points; each is given by the numbers of both inputs."""
    x, weight = quantized.centered(node, *data, axis=1), quantized.centered(node, *weights, axis=0)
    groups = node.attr_int("group", 1)
    check_channels(node, shape_of(x)[1], shape_of(weight)[1] * groups, shape_of(weight)[0], groups)
    kernel = node.attr_ints("kernel_shape") or shape_of(weight)[2:]
    if tuple(kernel) != shape_of(weight)[2:]:
        raise node.invalid(f"kernel_shape {list(kernel)} differs from the weight's shape {list(shape_of(weight))}")
    x, window = cropped(node, x, read_window(node, shape_of(x)[2:], tuple(kernel)))
    if 0 in (*shape_of(x), *shape_of(weight)):
        return node.emit(np.zeros((shape_of(x)[0], shape_of(weight)[0], *window.output), np.int32))
    return node.emit(
        CONVOLUTIONS[spatial_rank(node, x)](
            x, weight, strides=window.strides, padding=window.padding, dilation=window.dilations, groups=groups
        )
    )


@operator("DynamicQuantizeLinear")
def dynamic_quantize_linear(node: Node) -> Result:
    """Floats as uint8 of the range that they have: integers, scale and zero point."""
    return quantized.quantized_by_range(node, node.expr(0))

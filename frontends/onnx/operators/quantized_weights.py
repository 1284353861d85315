"""Products with weights of a few bits that ONNX Runtime has packed, a block of a column after the other."""

from __future__ import annotations

import numpy as np
from tvm import relax

from .. import quantized
from ..emitter import Array
from ..node import Expr, Node, Result, shape_of
from ..registry import operator

_BYTE_BITS = 8


@operator("MatMulNBits", domain="com.microsoft")
def matmul_n_bits(node: Node) -> Result:
    """A times the transpose of B (N, K), whose blocks along K have a scale and a zero point each."""
    bits, block = node.attr_int("bits", 4), node.attr_int("block_size", 0)
    depth, columns = node.attr_int("K", 0), node.attr_int("N", 0)
    if bits not in (2, 4, 8) or block < 1 or block * bits % _BYTE_BITS or depth < 1 or columns < 1:
        raise node.invalid(f"K {depth}, N {columns}, bits {bits} and block_size {block} do not describe a matrix")
    if node.attr_int("weight_prepacked", 0):
        raise node.unsupported("weights that are packed for one processor are not supported", "export them unpacked")
    blocks = -(-depth // block)
    x = node.expr(0)
    if not shape_of(x) or shape_of(x)[-1] != depth:
        raise node.invalid(f"A of shape {list(shape_of(x))} has no rows of K = {depth}")
    if node.has(4) and not np.array_equal(node.static(4, "g_idx"), np.arange(depth) // block):
        raise node.unsupported("rows of B in another order (g_idx) are not supported", "export without act_order")
    integers = _unpacked(node, node.static(1, "B"), bits, (columns, blocks, block))
    scale = _shared(node, node.static(2, "the scales"), (columns, blocks)).astype(np.float32)
    zero = np.asarray(1 << (bits - 1), np.int32)
    if node.has(3):
        zero = _zero_points(node, bits, (columns, blocks))
    weights = _dequantized(node, integers, scale, zero, depth)
    weights = node.emit(relax.op.astype(weights, node.dtype(0))) if node.dtype(0) != "float32" else weights
    product = relax.op.matmul(x, weights)
    return relax.op.add(node.emit(product), node.expr(5)) if node.has(5) else product


def _unpacked(node: Node, packed: Array, bits: int, shape: tuple[int, int, int]) -> Array:
    """Integers of so many bits, the first in the lowest bits of a byte; each last axis begins with a byte."""
    *outer, count = shape
    per_byte = _BYTE_BITS // bits
    length = -(-count // per_byte)
    if packed.size != int(np.prod(outer)) * length or packed.dtype.itemsize > 1:
        raise node.invalid(f"{packed.dtype}{list(packed.shape)} does not hold {list(shape)} integers of {bits} bits")
    places = np.arange(per_byte, dtype=np.uint8) * np.uint8(bits)
    parts = (packed.view(np.uint8).reshape(*outer, length, 1) >> places) & np.uint8((1 << bits) - 1)
    return np.asarray(parts.reshape(*outer, -1)[..., :count])


def _shared(node: Node, given: Array, shape: tuple[int, int]) -> Array:
    if given.size != shape[0] * shape[1]:
        raise node.invalid(f"{list(given.shape)} are not as many as there are blocks, {list(shape)}")
    return given.reshape(shape)


def _zero_points(node: Node, bits: int, shape: tuple[int, int]) -> Array:
    given = node.static(3, "the zero points")
    if given.dtype.itemsize == 1:
        return np.asarray(_unpacked(node, given, bits, (1, *shape))[0])
    whole = _shared(node, given, shape)
    if not np.array_equal(whole, np.rint(whole)):
        raise node.unsupported("zero points that are no integers are not supported")
    return whole.astype(np.int32)


def _dequantized(node: Node, integers: Array, scale: Array, zero: Array, depth: int) -> Expr:
    """The matrix (depth, columns) of integers (columns, blocks, block), and of scales (columns, blocks)."""
    columns, blocks, block = integers.shape
    parameters = [each.T if each.ndim else each for each in (scale, zero)]
    if depth == blocks * block:
        whole = node.emit(np.ascontiguousarray(integers.transpose(1, 2, 0)))
        given = [node.emit(np.ascontiguousarray(each[:, None] if each.ndim else each)) for each in parameters]
        return node.emit(node.reshape(quantized.to_float(node, whole, given[0], given[1]), (depth, columns)))
    rows = np.arange(depth) // block
    whole = node.emit(np.ascontiguousarray(integers.reshape(columns, -1)[:, :depth].T))
    given = [node.emit(np.ascontiguousarray(each[rows] if each.ndim else each)) for each in parameters]
    return quantized.to_float(node, whole, given[0], given[1])

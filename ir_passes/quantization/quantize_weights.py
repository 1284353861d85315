"""Weights of dense layers are rounded to a few bits, as the pairs of an imported model are; activations stay floats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax

from ...ir_types import Call
from ..core.base import GraphPass, PassResult
from ..core.constants import Array, array_of, constant
from ..core.graph import Expr, Var
from ..core.match import calls
from ..core.rewriter import Rewriter, dtype_of, rewrite
from ..core.sources import split
from ..dialect.quantize import dequantize
from ..dialect.weight_product import block_of_row, can_store, stored_bits, weight_product
from .quantized_values import integer, size_of
from .weight_steps import own_steps

# Of the range that a block's largest weight asks for, what is tried for its scale: to round the many more finely may be
# better than to hold the largest.
_SHARES = (0.95, 0.9, 0.85, 0.8)
# What fewer weights take is no time.
FEWEST_WEIGHTS = 1 << 12
BYTE = 8  # bits, of which the lowest integer is left out, so that the range is symmetric
_MATRIX = 2


def _always(call: Expr) -> bool:
    return True


@dataclass(frozen=True)
class QuantizeWeights(GraphPass):
    """matmul(x, constant of float32) -> matmul(x, dequantize(constant of integers)).

    Weights are symmetric, with a scale for each column, or for each block of its rows: the one, of a few, by which
    the sum of squares of their errors is least.

    Contract: types of results are the same; nothing but weights changes.

    Options:
        bits: of an integer, 2 to 8.
        block: rows that share a scale; 0: all of a column.
        gains: whether a product is faster so, given as it would be then.
        layers: bits and block of the products to quantize, by the names of their nodes; None: all that have more than
            a few weights, as `bits` and `block` say.
        tell: is told, of each of `layers`, why it stays float; "" where it does not.
    """

    bits: int = 8
    block: int = 0
    gains: Callable[[Expr], bool] = _always
    layers: Mapping[str, tuple[int, int]] | None = None
    tell: Callable[[str, str], None] = lambda layer, kept_float: None

    def __call__(self, module: tvm.IRModule) -> PassResult:
        """Rewrite `main`."""

        def visit(rewriter: Rewriter, var: Var, value: Expr) -> Expr | None:
            asked = self._asked(var, value)
            if asked is None:
                return None
            name, bits, block = asked
            weights = array_of(value.args[1]) if calls(value, "matmul") else None
            reason = why_float(value, weights)
            if weights is not None and not reason:
                block = min(block, len(weights)) or len(weights)
                if not can_store(stored_bits(bits), block, len(weights)):
                    reason = f"blocks of {block} rows are not whole words"
                elif not self.gains(rewriter.normalize(_product(value.args[0], weights.shape, bits, block))):
                    reason = "floats are faster for it"
            self.tell(name, reason)
            if weights is None or reason:
                return None
            pair = rewriter.emit(weight_pair(weights, bits, block), var.name)
            return rewriter.emit(relax.op.matmul(value.args[0], pair), var.name)

        return rewrite(module, visit, max_rounds=1)

    def _asked(self, var: Var, value: Expr) -> tuple[str, int, int] | None:
        """A name of a layer that is to be quantized, and how."""
        if self.layers is None:
            known = array_of(value.args[1]) if calls(value, "matmul") else None
            return (var.name, self.bits, self.block) if known is not None and known.size >= FEWEST_WEIGHTS else None
        name = next((each for each in split(var.name) if each in self.layers), None)
        return (name, *self.layers[name]) if name is not None and is_product(value) else None


def is_product(value: Expr) -> bool:
    """Whether a call is what layers are."""
    return bool(calls(value, "matmul", "nn.conv1d", "nn.conv2d", "nn.conv3d"))


def why_float(value: Call, weights: Array | None) -> str:
    """Why a product's weights cannot be quantized, if they cannot."""
    if weights is None:
        return "its weights are no constant matrix"
    if weights.ndim != _MATRIX or value.args[0].ty.ndim < _MATRIX or not size_of(value):
        return "it multiplies no two matrices"
    if dtype_of(value) != "float32" or weights.dtype != np.float32 or not np.isfinite(weights).all():
        return "its weights are no finite numbers of float32"
    return ""


def _product(x: Expr, shape: tuple[int, ...], bits: int, block: int) -> Expr:
    depth, columns = shape
    blocks = int(block_of_row(depth, block)[-1]) + 1
    integers = relax.Var("integers", relax.TensorType((depth, columns), "int8"))
    scale = relax.Var("scale", relax.TensorType((blocks, columns), "float32"))
    return weight_product(x, integers, scale, integer(0), bits=stored_bits(bits), block=block)


def weight_pair(weights: Array, bits: int, block: int) -> Expr:
    """A matrix (depth, columns) of floats as integers of so many bits that are dequantized, by blocks of rows."""
    integers, scale = in_blocks(weights, bits, block)
    return dequantize(constant(integers), constant(scale), integer(0))


def in_blocks(weights: Array, bits: int, block: int) -> tuple[Array, Array]:
    """A matrix (depth, columns) as integers of so many bits, and scales of each row, or one row of them for all."""
    depth, columns = weights.shape
    blocks = int(block_of_row(depth, block)[-1]) + 1
    whole = np.zeros((blocks * block, columns), np.float32)
    whole[:depth] = weights
    integers, scale = rounded(whole.reshape(blocks, block, columns), bits)
    rows = scale.reshape(blocks, columns)
    return integers.reshape(-1, columns)[:depth], rows if blocks == 1 else rows[block_of_row(depth, block)]


def rounded(weights: Array, bits: int) -> tuple[Array, Array]:
    """Weights (blocks, block, columns) as int8 of so many bits, and scales (blocks, 1, columns) of float32.

    Weights that are integers times a scale already keep both.
    """
    lowest = -(1 << (bits - 1))
    places = np.abs(weights).argmax(1, keepdims=True)
    largest = np.take_along_axis(weights, places, 1)
    # Of few integers all are used: the largest weight becomes the lowest one, which has no counterpart above zero, so
    # that scales may be negative.
    step = largest / np.float32(lowest) if bits < BYTE else np.abs(largest) / np.float32(-lowest - 1)
    integers, scales, least = _divided(weights, step, lowest)
    for share in _SHARES:
        finer, scale, error = _divided(weights, step * np.float32(share), lowest)
        better = error < least
        integers, scales = np.where(better, finer, integers), np.where(better, scale, scales)
        least = np.minimum(least, error)
    own = own_steps(weights, lowest if bits < BYTE else lowest + 1, -lowest - 1).astype(np.float32)
    kept, scale, _ = _divided(weights, own, lowest)
    integers, scales = np.where(own, kept, integers), np.where(own, scale, scales)
    return integers.astype(np.int8), scales


def _divided(weights: Array, scale: Array, lowest: int) -> tuple[Array, Array, Array]:
    """Integers from `lowest` on, the scales with 1 in the place of 0, and a block's sum of squared errors."""
    scale = np.where(np.abs(scale) < np.finfo(np.float32).tiny, np.float32(1), scale)
    whole = np.clip(np.rint(weights / scale), lowest, -lowest - 1)
    return whole, scale, np.square(whole * scale - weights).sum(1, keepdims=True)

"""What operators of attention are made of: heads, masks that are added, rotations, and the attention itself."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax, te, tirx

from ...ir_types import Scalar
from .dtypes import numpy_dtype
from .node import Expr, Node, dtype_of, shape_of


def heads(node: Node, x: Expr, count: int) -> Expr:
    """[batch, length, count * size] as [batch, count, length, size].

    Raises:
        ModelError: the heads do not divide it.
    """
    batch, length, width = shape_of(x)
    if count < 1 or width % count:
        raise node.invalid(f"{count} heads do not divide {width}")
    return node.emit(relax.op.permute_dims(node.reshape(x, (batch, length, count, width // count)), [0, 2, 1, 3]))


def merged(node: Node, x: Expr) -> Expr:
    """[batch, heads, length, size] as [batch, length, heads * size]."""
    batch, count, length, size = shape_of(x)
    return node.emit(node.reshape(relax.op.permute_dims(x, [0, 2, 1, 3]), (batch, length, count * size)))


def attended(node: Node, q: Expr, k: Expr, v: Expr, *, scale: float, added: list[Expr]) -> Expr:
    """softmax(q k^T * scale + all that is added) v, each [batch, heads, length, size]; heads of k may serve several."""
    size, groups = shape_of(q)[-1], shape_of(q)[1] // shape_of(k)[1]
    if groups > 1:
        k, v = (node.emit(relax.op.repeat(each, groups, 1)) for each in (k, v))
    scores = node.emit(relax.op.matmul(q, relax.op.permute_dims(k, [0, 1, 3, 2])))
    factor = scale or 1.0 / math.sqrt(size)
    scores = node.emit(relax.op.multiply(scores, node.scalar(factor, dtype_of(scores))))
    for each in added:
        scores = node.emit(relax.op.add(scores, each))
    return node.emit(relax.op.matmul(relax.op.nn.softmax(scores, -1), v))


def causal(node: Node, length: int, total: int, dtype: str, window: int = 0) -> Expr:
    """Added to scores [.., length, total]: a query sees what came before it, the last one all; or so many keys."""
    places, keys = np.arange(length)[:, None] + (total - length), np.arange(total)[None, :]
    seen = (keys <= places) & ((keys > places - window) | (window <= 0))
    return node.emit(np.where(seen, 0.0, -np.inf).astype(numpy_dtype(dtype))[None, None])


def padding(node: Node, mask: Expr, length: int, total: int, value: float, dtype: str) -> Expr:
    """Added to scores: `value` where a mask of integers is 0, the mask being of keys, of pairs, or the number of keys.

    Raises:
        UnsupportedError: the mask is of another kind.
    """
    shape = shape_of(mask)
    if len(shape) == 1:
        positions = node.emit(np.arange(total, dtype=np.int32)[None, :])
        lengths = node.reshape(node.emit(relax.op.astype(mask, "int32")), (shape[0], 1))
        seen = node.emit(relax.op.less(positions, lengths))
    elif shape[1:] in ((total,), (length, total)):
        seen = node.emit(relax.op.not_equal(mask, node.scalar(0, dtype_of(mask))))
    else:
        raise node.unsupported(f"a mask of shape {list(shape)} is not supported")
    added = relax.op.where(seen, node.scalar(0.0, dtype), node.scalar(value, dtype))
    rows = length if len(shape) == 3 else 1
    return node.emit(node.reshape(node.emit(added), (shape[0], 1, rows, total)))


def visible(node: Node, past: Expr, length: int, total: int, window: int, dtype: str) -> Expr:
    """Added to scores of keys in a cache: query s of batch b stands at past[b] + s, and sees what is not after it.

    Args:
        past: int64[batch].
        window: how many keys it sees at most; all where that is not positive.
    """

    def added(start: te.Tensor) -> te.Tensor:
        def element(b: Scalar, _: Scalar, s: Scalar, j: Scalar) -> Scalar:
            place = start(b) + s
            seen = tirx.all(j <= place, j > place - window) if window > 0 else j <= place
            return tirx.Select(seen, tirx.const(0.0, dtype), tirx.const(-math.inf, dtype))

        return te.compute((start.shape[0], 1, length, total), element, name="visible")

    return node.emit_te(added, past)


def visible_by_text(node: Node, past: Expr, length: int, total: int, window: int, dtype: str) -> Expr:
    """The same in operators that can be followed where sizes vary."""
    steps, keys = (node.emit(np.arange(extent, dtype=np.int64)) for extent in (length, total))
    steps, keys = node.reshape(steps, (1, 1, length, 1)), node.reshape(keys, (1, 1, 1, total))
    places = node.emit(relax.op.add(node.reshape(past, (shape_of(past)[0], 1, 1, 1)), steps))
    seen = node.emit(relax.op.less_equal(keys, places))
    if window > 0:
        first = node.emit(relax.op.subtract(places, node.scalar(window, "int64")))
        seen = node.emit(relax.op.logical_and(seen, node.emit(relax.op.greater(keys, first))))
    return node.emit(relax.op.where(seen, node.scalar(0.0, dtype), node.scalar(-math.inf, dtype)))


def rotated(node: Node, x: Expr, cosine: Expr, sine: Expr, *, interleaved: bool) -> Expr:
    """[batch, heads, length, size] with pairs of its first elements turned by angles [batch, length, pairs].

    A pair is two neighbours where `interleaved`, else one element of the first half of those that turn, and the one at
    the same place of the second half.
    """
    size = shape_of(x)[-1]
    pairs = shape_of(cosine)[-1]
    if 2 * pairs > size:
        raise node.invalid(f"{pairs} angles turn no heads of {size}")

    def rotate(a: te.Tensor, cos: te.Tensor, sin: te.Tensor) -> te.Tensor:
        def element(b: Scalar, h: Scalar, s: Scalar, d: Scalar) -> Scalar:
            if interleaved:
                pair, second = tirx.indexdiv(d, 2), tirx.indexmod(d, 2) == 1
                partner = tirx.Select(second, d - 1, d + 1)
            else:
                second = d >= pairs
                pair = tirx.Select(second, d - pairs, d)
                partner = tirx.Select(second, d - pairs, d + pairs)
            pair, partner = tirx.min(pair, pairs - 1), tirx.min(partner, size - 1)
            other = a(b, h, s, partner) * sin(b, s, pair)
            turned = a(b, h, s, d) * cos(b, s, pair) + tirx.Select(second, other, -other)
            return tirx.Select(d < 2 * pairs, turned, a(b, h, s, d))

        return te.compute(a.shape, element, name="rotate")

    return node.emit_te(rotate, x, cosine, sine)

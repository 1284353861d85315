"""Fourier transforms, as products with matrices of sines and cosines, which are made when the model is imported."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax

from ..dtypes import accumulator
from ..limits import check_table
from ..node import Array, Expr, Node, Result, shape_of
from ..registry import operator
from .cast import converted


@operator("DFT", since=17)
def transform_along_attribute(node: Node) -> Result:
    """The discrete Fourier transform, its axis an attribute."""
    return _transform(node, node.attr_int("axis", 1))


@operator("DFT", since=20)
def transform(node: Node) -> Result:
    """The discrete Fourier transform of [..., 1 or 2 parts] along an axis; its inverse is divided by the length."""
    return _transform(node, node.static_ints(2, "the axis")[0] if node.has(2) else -2)


def _transform(node: Node, axis: int) -> Result:
    shape = node.shape(0)
    axis = node.axis(axis, len(shape))
    parts, extent = shape[-1], shape[axis]
    if axis == len(shape) - 1 or parts not in (1, 2):
        raise node.invalid(f"{list(shape)} has no real and imaginary part after axis {axis}")
    inverse, onesided = node.attr_flag("inverse", False), node.attr_flag("onesided", False)
    if onesided and not inverse and parts == 2:
        raise node.invalid("half a spectrum is asked of complex numbers")
    length = 2 * (extent - 1) if inverse and onesided else extent
    if node.has(1):
        length = node.static_ints(1, "the length")[0]
    if length < 1:
        raise node.invalid(f"the length is {length}")
    used = min(extent, length // 2 + 1 if inverse and onesided else length)
    check_table(4.0 * used * length, "the sines and cosines of a transform")
    matrix = _matrix(used, length, parts, inverse=inverse, onesided=onesided)
    dtype = accumulator(node.dtype(0))
    x = converted(node, node.expr(0), dtype)
    if used < extent:
        x = node.emit(relax.op.strided_slice(x, [axis], [0], [used], assume_inbound=True))
    rest = [each for each in range(len(shape) - 1) if each != axis]
    order = [*rest, axis, len(shape) - 1]
    x = node.emit(relax.op.permute_dims(x, order)) if order != list(range(len(shape))) else x
    result = _product(node, x, matrix, dtype)
    back = [order.index(each) for each in range(len(shape))]
    result = relax.op.permute_dims(result, back) if back != list(range(len(shape))) else result
    return converted(node, node.emit(result), node.dtype(0))


def _product(node: Node, x: Expr, matrix: Array, dtype: str) -> Expr:
    """[..., n, parts] times a matrix [n, parts, length, parts], one after the other."""
    shape = shape_of(x)
    rows = math.prod(shape[:-2])
    n, parts, length, results = matrix.shape
    weights = node.emit(matrix.reshape(n * parts, length * results).astype(dtype))
    product = relax.op.matmul(node.reshape(x, (rows, n * parts)), weights)
    return node.emit(node.reshape(node.emit(product), (*shape[:-2], length, results)))


def _matrix(used: int, length: int, parts: int, *, inverse: bool, onesided: bool) -> Array:
    """What each part of a number adds to each part of each result: [used, parts, results, parts of them], float64."""
    results = length // 2 + 1 if onesided and not inverse else length
    # Angles of whole numbers modulo the length, so that long transforms are as exact as short ones.
    turns = (np.arange(used)[:, None] * np.arange(results)[None, :]) % length
    angle = 2.0 * np.pi * turns / length
    cosine, sine = np.cos(angle), np.sin(angle) * (1.0 if inverse else -1.0)
    if inverse:
        cosine, sine = cosine / length, sine / length
        if onesided:  # what is left out is the mirror of what there is
            once = np.arange(used) % length * 2 % length == 0
            weight = np.where(once, 1.0, 2.0)[:, None]
            return np.stack([cosine * weight, -sine * weight], 1)[:, :parts, :, None]
    real = np.stack([cosine, sine], -1)
    imaginary = np.stack([-sine, cosine], -1)
    return np.stack([real, imaginary], 1)[:, :parts]


@operator("STFT")
def short_time_transform(node: Node) -> Result:
    """Transforms of the frames of a signal [batch, length, parts], each weighted by a window."""
    batch, extent, *rest = node.shape(0)
    parts = rest[0] if rest else 1
    step = node.static_ints(1, "the step between frames")[0]
    length = node.shape(2)[0] if node.has(2) else extent
    if node.has(3):
        length = node.static_ints(3, "the length of a frame")[0]
    if step < 1 or not 1 <= length <= extent or (node.has(2) and node.shape(2) != (length,)):
        raise node.invalid(f"frames of {length} every {step} do not fit a signal of {extent} and the window")
    onesided = node.attr_flag("onesided", True)
    if onesided and parts == 2:
        raise node.invalid("half a spectrum is asked of complex numbers")
    frames = 1 + (extent - length) // step
    check_table(4.0 * length * length, "the sines and cosines of a transform")
    check_table(float(frames * length), "the positions of the frames")
    dtype = accumulator(node.dtype(0))
    signal = node.reshape(converted(node, node.expr(0), dtype), (batch, extent, parts))
    places = (np.arange(frames)[:, None] * step + np.arange(length)).astype(np.int64)
    framed = node.emit(relax.op.take(signal, node.emit(places), 1, mode="fast"))
    if node.has(2):
        window = node.reshape(converted(node, node.expr(2), dtype), (length, 1))
        framed = node.emit(relax.op.multiply(framed, window))
    matrix = _matrix(length, length, parts, inverse=False, onesided=onesided)
    return converted(node, _product(node, framed, matrix, dtype), node.dtype(0))

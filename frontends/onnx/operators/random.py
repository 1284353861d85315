"""Random numbers: drawn by a seed when the model is imported, and stored.

A library computes the same whenever it is called, so what it draws is the same at every call.
"""

from __future__ import annotations

import math
import warnings
import zlib

import numpy as np
from tvm import relax, te, tirx

from ....errors import TilewrightWarning
from ....ir_types import Scalar
from .. import tir_scan
from ..dtypes import accumulator, is_float, numpy_dtype
from ..limits import check_table, check_tensor
from ..node import Node, Result
from ..registry import operator
from .cast import converted


def _drawn(node: Node, shape: tuple[int, ...], dtype: str) -> Result:
    if node.op_type.startswith("RandomNormal"):
        mean, scale = node.attr_float("mean", 0.0), node.attr_float("scale", 1.0)
        numbers = _generator(node, shape).standard_normal(shape) * scale + mean
    else:
        numbers = _generator(node, shape).uniform(node.attr_float("low", 0.0), node.attr_float("high", 1.0), shape)
    return numbers.astype(numpy_dtype(dtype))


def _generator(node: Node, shape: tuple[int, ...]) -> np.random.Generator:
    """What draws so many numbers: the seed is the node's or, where it gives none, made of its name.

    Raises:
        UnsupportedError: they are too many to be stored.
    """
    check_tensor(shape)
    check_table(float(math.prod(shape)), "the random numbers")
    message = f"{node.label}: its random numbers are drawn when the model is compiled: they are the same at every call"
    warnings.warn(TilewrightWarning(message), stacklevel=4)
    given = repr(float(node.attributes["seed"].value)) if "seed" in node.attributes else node.name
    return np.random.Generator(np.random.Philox(zlib.crc32(given.encode())))


@operator("RandomNormal", "RandomUniform")
def random(node: Node) -> Result:
    """Numbers in a shape that the node gives."""
    return _drawn(node, node.attr_ints("shape") or (), node.attr_relax_dtype("dtype", "float32"))


@operator("RandomNormalLike", "RandomUniformLike")
def random_like(node: Node) -> Result:
    """Numbers in the shape of the input and, where the node names none, of its dtype."""
    given = node.dtype(0)
    dtype = node.attr_relax_dtype("dtype", given)
    if not is_float(dtype):
        raise node.unsupported(f"random numbers of {dtype} are not supported")
    return _drawn(node, node.shape(0), dtype)


@operator("Multinomial")
def multinomial(node: Node) -> Result:
    """Classes drawn by unnormalised log-probabilities [batch, classes], `sample_size` times."""
    batch, classes = node.shape(0)
    count = node.attr_int("sample_size", 1)
    dtype = node.attr_relax_dtype("dtype", "int32")
    if count < 1 or classes < 1:
        raise node.invalid(f"{count} samples of {classes} classes")
    x = converted(node, node.expr(0), accumulator(node.dtype(0)))
    chances = node.emit(relax.op.nn.softmax(converted(node, x, "float32"), 1))
    total = tir_scan.running_total(batch, classes, 1, "float32", exclusive=False, reverse=False, product=False)
    running = node.emit(
        node.reshape(node.emit_kernel(total, node.reshape(chances, (batch, classes, 1))), (batch, classes))
    )
    numbers = node.emit(_generator(node, (batch, count)).random((batch, count), np.float32))

    def draw(totals: te.Tensor, unit: te.Tensor) -> te.Tensor:
        other = te.reduce_axis((0, classes - 1), name="other")

        def element(b: Scalar, s: Scalar) -> Scalar:
            passed = tirx.Select(totals(b, other) <= unit(b, s), tirx.const(1, dtype), tirx.const(0, dtype))
            return te.sum(passed, axis=other)

        return te.compute((batch, count), element, name="draw")

    if classes == 1:
        return relax.op.full((batch, count), node.scalar(0, dtype), dtype)
    return node.emit_te(draw, running, numbers)


@operator("Dropout")
def dropout(node: Node) -> Result:
    """Nothing at inference, when the mask keeps everything; in training, what is drawn below the ratio is dropped."""
    shape, given = node.shape(0), node.dtype(0)
    x = node.expr(0)
    ratio = 0.0
    if node.has(2) and bool(node.static(2, "training_mode").item()):
        ratio = float(node.static(1, "the ratio").item()) if node.has(1) else 0.5
    if not 0.0 <= ratio < 1.0:
        raise node.invalid(f"the ratio is {ratio}")
    mask_dtype = "bool" if node.opset >= 10 else given
    if ratio == 0.0 or 0 in shape:
        kept = relax.op.full(shape, node.emit(np.ones((), numpy_dtype(mask_dtype))), mask_dtype)
        return [x, kept] if node.wants(1) else x
    drawn = node.emit(_generator(node, shape).random(shape, np.float32))
    mask = node.emit(relax.op.greater_equal(drawn, node.scalar(ratio, "float32")))
    scaled = relax.op.multiply(x, node.scalar(1.0 / (1.0 - ratio), given))
    return [relax.op.where(mask, scaled, node.scalar(0, given)), converted(node, mask, mask_dtype)]


@operator("Bernoulli")
def bernoulli(node: Node) -> Result:
    """1 with the probability that the input gives, else 0: what ONNX defines it by gives 1 with the rest of it."""
    given = node.dtype(0)
    dtype = node.attr_relax_dtype("dtype", given)
    wide = accumulator(given)
    drawn = node.emit(_generator(node, node.shape(0)).random(node.shape(0)).astype(numpy_dtype(wide)))
    return converted(node, relax.op.less(drawn, converted(node, node.expr(0), wide)), dtype)

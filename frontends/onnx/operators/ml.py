"""Operators of ai.onnx.ml that are a few products and sums: what pipelines put around a model."""

from __future__ import annotations

import numpy as np
from tvm import relax

from ..node import Array, Expr, Node, Result, dtype_of, shape_of
from ..registry import operator
from .cast import converted

_DOMAIN = "ai.onnx.ml"


def _numbers(node: Node, name: str, count: int, otherwise: float) -> Array:
    """An attribute with a number for each column, or one for all."""
    given = node.attr_floats(name) or (otherwise,)
    if len(given) not in (1, count):
        raise node.invalid(f"the attribute {name} has {len(given)} numbers for {count} columns")
    return np.asarray(given, np.float32)


def _columns(node: Node) -> int:
    return node.shape(0)[-1] if node.shape(0) else 1


@operator("ArrayFeatureExtractor", domain=_DOMAIN)
def array_feature_extractor(node: Node) -> Result:
    """Columns of the last dimension by index; of a vector as a row."""
    shape = node.shape(0)
    indices = node.reshape(node.expr(1), (int(np.prod(node.shape(1))),))
    if 0 in (*shape, *node.shape(1)) or not shape:
        raise node.invalid("it takes elements of nothing, or takes none")
    taken = node.emit(relax.op.take(node.expr(0), indices, len(shape) - 1, mode="wrap"))
    return node.reshape(taken, (1, shape_of(taken)[0])) if len(shape) == 1 else taken


@operator("Binarizer", domain=_DOMAIN)
def binarizer(node: Node) -> Result:
    """1 where x exceeds the threshold, else 0."""
    x = node.expr(0)
    above = relax.op.greater(x, node.scalar(node.attr_float("threshold", 0.0), dtype_of(x)))
    return converted(node, above, dtype_of(x))


@operator("Scaler", domain=_DOMAIN)
def scaler(node: Node) -> Result:
    """(x - offset) * scale, by column, as float32."""
    x, count = converted(node, node.expr(0), "float32"), _columns(node)
    offset, scale = _numbers(node, "offset", count, 0.0), _numbers(node, "scale", count, 1.0)
    return relax.op.multiply(relax.op.subtract(x, node.emit(offset)), node.emit(scale))


@operator("Normalizer", domain=_DOMAIN)
def normalizer(node: Node) -> Result:
    """Rows divided by their largest number, the sum of their sizes, or their length, as float32."""
    x = converted(node, node.expr(0), "float32")
    axis = len(shape_of(x)) - 1
    norm = node.attr_str("norm", "MAX")
    size: Expr
    if norm == "MAX":
        size = relax.op.max(x, [axis], True)
    elif norm == "L1":
        size = relax.op.sum(relax.op.abs(x), [axis], True)
    elif norm == "L2":
        size = relax.op.sqrt(relax.op.sum(relax.op.multiply(x, x), [axis], True))
    else:
        raise node.invalid(f"the attribute norm is '{norm}'")
    size = node.emit(size)
    zero, one = node.scalar(0, "float32"), node.scalar(1, "float32")
    return relax.op.divide(x, relax.op.where(relax.op.equal(size, zero), one, size))


@operator("LinearRegressor", domain=_DOMAIN)
def linear_regressor(node: Node) -> Result:
    """x times coefficients of each target, and an intercept, as float32."""
    if node.attr_str("post_transform", "NONE") != "NONE":
        raise node.unsupported(f"the post_transform '{node.attr_str('post_transform', '')}' is not supported")
    return _linear(node, node.attr_int("targets", 1))


def _linear(node: Node, targets: int) -> Expr:
    count = _columns(node)
    weights = np.asarray(node.attr_floats("coefficients") or (), np.float32)
    if len(node.shape(0)) != 2 or weights.size != targets * count:
        raise node.invalid(f"{weights.size} coefficients do not fit {targets} targets of {list(node.shape(0))}")
    x = converted(node, node.expr(0), "float32")
    product = relax.op.matmul(x, node.emit(np.ascontiguousarray(weights.reshape(targets, count).T)))
    return node.emit(relax.op.add(product, node.emit(_numbers(node, "intercepts", targets, 0.0))))

"""Normalisations: over the batch, channels, groups, layers."""

from __future__ import annotations

import numpy as np
from tvm import relax, te, tirx

from ..dtypes import accumulator, numpy_dtype
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator


@operator("BatchNormalization")
def batch_normalization(node: Node) -> Result:
    """(x - mean) / sqrt(var + eps) * scale + bias by channel (dimension 1).

    With constant statistics this is one multiply and one add by constants, which are computed in float64.
    """
    x = node.expr(0)
    shape = shape_of(x)
    epsilon = node.attr_float("epsilon", 1e-5)
    training = (
        node.attr_flag("training_mode", False)
        if node.opset >= 14
        else (node.opset < 7 and not node.attr_flag("is_test", False))
    )
    if 7 <= node.opset < 14 and any(output.name for output in node.source.outputs[1:]):
        raise node.unsupported("batch statistics at run time are not supported", "export in inference mode: one output")
    if training and node.opset < 14:
        raise node.unsupported("batch statistics at run time are not supported", "export with is_test=1")
    if training:
        return _batch_statistics(node, x, epsilon)
    if not node.attr_flag("spatial", True):
        raise node.unsupported("statistics by element (spatial=0) are not supported")
    parameters = [node.constant(index) for index in range(1, 5)]
    by_channel = (shape[1], *[1] * (len(shape) - 2)) if len(shape) > 1 else shape
    wide = _widened(node, x)
    dtype = dtype_of(wide)
    if all(parameter is not None for parameter in parameters):
        scale, bias, mean, variance = (np.asarray(each, np.float64) for each in parameters)
        factor = scale / np.sqrt(variance + epsilon)
        offset = bias - mean * factor
        scaled = relax.op.multiply(wide, node.emit(factor.astype(dtype).reshape(by_channel)))
        return _as(relax.op.add(scaled, node.emit(offset.astype(dtype).reshape(by_channel))), dtype, dtype_of(x))
    mean, variance = (_parameter(node, index, by_channel, dtype) for index in (3, 4))
    return _as(_scaled(node, wide, mean, variance, epsilon, by_channel), dtype, dtype_of(x))


def _parameter(node: Node, index: int, shape: tuple[int, ...], dtype: str) -> Expr:
    """An input by channel in a shape and a dtype: parameters may have another one than the data."""
    return node.reshape(_as(node.expr(index), node.dtype(index), dtype), shape)


def _scaled(node: Node, x: Expr, mean: Expr, variance: Expr, epsilon: float, by_channel: tuple[int, ...]) -> Expr:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, inputs 1 and 2 being scale and bias."""
    scale, bias = (_parameter(node, index, by_channel, dtype_of(x)) for index in (1, 2))
    variance = node.emit(variance)
    spread = relax.op.sqrt(relax.op.add(variance, node.scalar(epsilon, dtype_of(variance))))
    normal = node.emit(relax.op.divide(relax.op.subtract(x, mean), spread))
    return relax.op.add(relax.op.multiply(normal, scale), bias)


def _batch_statistics(node: Node, given: Expr, epsilon: float) -> list[Expr]:
    """training_mode: normalised by the batch itself; then the running mean and variance, moved by `momentum`."""
    x = _widened(node, given)
    shape, dtype = shape_of(x), dtype_of(x)
    axes = [axis for axis in range(len(shape)) if axis != 1]
    momentum = node.attr_float("momentum", 0.9)
    by_channel = (shape[1], *[1] * (len(shape) - 2))
    mean = node.emit(relax.op.mean(x, axes))
    centred = node.emit(relax.op.subtract(x, node.reshape(mean, by_channel)))
    variance = node.emit(relax.op.mean(relax.op.multiply(centred, centred), axes))
    result = _scaled(node, x, node.reshape(mean, by_channel), node.reshape(variance, by_channel), epsilon, by_channel)
    results = [_as(result, dtype, dtype_of(given))]
    for index, current in ((3, mean), (4, variance)):
        kept = relax.op.multiply(_as(node.expr(index), node.dtype(index), dtype), node.scalar(momentum, dtype))
        moved = relax.op.add(kept, relax.op.multiply(current, node.scalar(1.0 - momentum, dtype)))
        results.append(_as(moved, dtype, node.dtype(index)))
    return results


@operator("LayerNormalization")
def layer_normalization(node: Node) -> Result:
    """Normalised over the dimensions from `axis` on; then the mean and the inverse standard deviation, if wanted."""
    x = node.expr(0)
    shape = shape_of(x)
    first = node.axis(node.attr_int("axis", -1), len(shape))
    axes = list(range(first, len(shape)))
    epsilon = node.attr_float("epsilon", 1e-5)
    inner = shape[first:]
    gamma = _spread_to(node, 1, inner)
    beta = _spread_to(node, 2, inner) if node.has(2) else node.emit(np.zeros(inner, numpy_dtype(node.dtype(1))))
    results = [relax.op.nn.layer_norm(x, gamma, beta, axes=axes, epsilon=epsilon)]
    if node.wants(1) or node.wants(2):
        wide = _widened(node, x)
        mean = node.emit(relax.op.mean(wide, axes, keepdims=True))
        centred = node.emit(relax.op.subtract(wide, mean))
        variance = relax.op.mean(relax.op.multiply(centred, centred), axes, keepdims=True)
        spread = relax.op.sqrt(relax.op.add(variance, node.scalar(epsilon, dtype_of(wide))))
        inverse = node.emit(relax.op.divide(node.scalar(1, dtype_of(wide)), spread))
        stash = node.attr_relax_dtype("stash_type", "float32")
        results += [each if dtype_of(each) == stash else relax.op.astype(each, stash) for each in (mean, inverse)]
    return results


@operator("RMSNormalization")
def rms_normalization(node: Node) -> Result:
    """x / sqrt(mean(x^2) + eps) * scale over the dimensions from `axis` on."""
    x = node.expr(0)
    shape = shape_of(x)
    first = node.axis(node.attr_int("axis", -1), len(shape))
    weight = _spread_to(node, 1, shape[first:])
    epsilon = node.attr_float("epsilon", 1e-5)
    if first > 0:
        return relax.op.nn.rms_norm(x, weight, axes=list(range(first, len(shape))), epsilon=epsilon)
    # TVM's own compute needs a dimension that is left.
    rows = node.emit(node.reshape(x, (1, *shape)))
    axes = list(range(1, len(shape) + 1))
    return node.reshape(relax.op.nn.rms_norm(rows, weight, axes=axes, epsilon=epsilon), shape)


def _spread_to(node: Node, index: int, shape: tuple[int, ...]) -> Expr:
    """A scale or bias that may be smaller than the normalised dimensions, at their full shape."""
    known = node.constant(index)
    if known is not None:
        return node.emit(known if known.shape == shape else np.ascontiguousarray(np.broadcast_to(known, shape)))
    given = node.expr(index)
    return given if shape_of(given) == shape else node.emit(relax.op.broadcast_to(given, shape))


@operator("InstanceNormalization")
def instance_normalization(node: Node) -> Result:
    """Normalised over the spatial dimensions of each channel of each sample."""
    return _grouped(node, node.shape(0)[1], per_channel=True)


@operator("GroupNormalization", since=18)
def group_normalization_by_group(node: Node) -> Result:
    """Normalised over groups of channels; scale and bias have one value a group."""
    return _grouped(node, node.attr_int("num_groups", 1), per_channel=False)


@operator("GroupNormalization", since=21)
def group_normalization_by_channel(node: Node) -> Result:
    """Normalised over groups of channels; scale and bias have one value a channel."""
    return _grouped(node, node.attr_int("num_groups", 1), per_channel=True)


def _grouped(node: Node, groups: int, *, per_channel: bool) -> Expr:
    """Mean and variance over [N, groups, all the rest], then scale and bias (inputs 1 and 2)."""
    x = node.expr(0)
    shape = shape_of(x)
    if 0 in shape:
        return x
    if groups < 1 or shape[1] % groups:
        raise node.invalid(f"{groups} groups do not divide {shape[1]} channels")
    count = shape[1] if per_channel else groups
    for index, name in ((1, "scale"), (2, "bias")):
        if node.shape(index) != (count,):
            raise node.invalid(f"the {name} is of shape {list(node.shape(index))}, [{count}] is needed")
    scale, bias = (
        _as(_by_channel(node, index, shape[1], groups, per_channel), node.dtype(index), dtype_of(x)) for index in (1, 2)
    )
    # Relax's operator needs an axis besides those of the batch and of the channels.
    image = x if len(shape) > 2 else node.reshape(x, (*shape, 1))
    axes = list(range(2, max(len(shape), 3)))
    epsilon = node.attr_float("epsilon", 1e-5)
    normal = relax.op.nn.group_norm(image, scale, bias, groups, channel_axis=1, axes=axes, epsilon=epsilon)
    return normal if len(shape) > 2 else node.reshape(node.emit(normal), shape)


def _by_channel(node: Node, index: int, channels: int, groups: int, per_channel: bool) -> Expr:
    """A parameter by channel or by group as [C]."""
    repeats = 1 if per_channel else channels // groups
    known = node.constant(index)
    if known is not None:
        return node.emit(np.repeat(known.reshape(-1), repeats))
    given = node.expr(index)
    return given if repeats == 1 else relax.op.repeat(given, repeats, 0)


@operator("LRN")
def local_response_normalization(node: Node) -> Result:
    """x / (bias + alpha / size * sum of squares over `size` neighbouring channels) ** beta."""
    x = _widened(node, node.expr(0))
    dtype = dtype_of(x)
    size = node.attr_int("size", 1)
    if size < 1:
        raise node.invalid(f"the attribute size is {size}")
    last = shape_of(x)[1] - 1
    before, after = min((size - 1) // 2, last), min(size // 2, last)
    alpha, beta, bias = node.attr_float("alpha", 1e-4), node.attr_float("beta", 0.75), node.attr_float("bias", 1.0)

    def squares_of_neighbours(a: te.Tensor) -> te.Tensor:
        near = te.reduce_axis((0, before + 1 + after), name="near")
        channels = a.shape[1]

        def element(n: tirx.Var, c: tirx.Var, *i: tirx.Var) -> tirx.PrimExpr:
            source = c + near - before
            inside = tirx.all(source >= 0, source < channels)
            value = a(n, source, *i)
            return te.sum(tirx.if_then_else(inside, value * value, tirx.const(0, a.dtype)), axis=near)

        return te.compute(a.shape, element, name="squares_of_neighbours")

    squares = node.emit_te(squares_of_neighbours, x)
    base = relax.op.add(relax.op.multiply(squares, node.scalar(alpha / size, dtype)), node.scalar(bias, dtype))
    return _as(relax.op.divide(x, relax.op.power(base, node.scalar(beta, dtype))), dtype, node.dtype(0))


@operator("LpNormalization")
def lp_normalization(node: Node) -> Result:
    """x divided by its 1-norm or 2-norm along an axis."""
    x = _widened(node, node.expr(0))
    dtype = dtype_of(x)
    axis = node.axis(node.attr_int("axis", -1), len(shape_of(x)))
    order = node.attr_int("p", 2)
    if order not in (1, 2):
        raise node.invalid(f"p is {order}; it is 1 or 2")
    if order == 1:
        norm = relax.op.sum(relax.op.abs(x), [axis], keepdims=True)
    else:
        norm = relax.op.sqrt(relax.op.sum(relax.op.multiply(x, x), [axis], keepdims=True))
    norm = node.emit(norm)
    # A vector of zeros stays one.
    zero = node.scalar(0, dtype)
    safe = relax.op.where(relax.op.equal(norm, zero), node.scalar(1, dtype), norm)
    return _as(relax.op.divide(x, safe), dtype, node.dtype(0))


def _widened(node: Node, x: Expr) -> Expr:
    """x in the dtype that sums are taken in."""
    return node.emit(_as(x, dtype_of(x), accumulator(dtype_of(x))))


def _as(x: Expr, dtype: str, wanted: str) -> Expr:
    """An expression of one dtype in another."""
    return x if dtype == wanted else relax.op.astype(x, wanted)

"""Derivatives of operators: a row gives the gradients of a node's inputs of those of its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..calibration.samples import Array
from .backward_images import average_pool, convolution, max_pool
from .backward_row import Row, Site, summed_to

# Of an element-wise operator: its derivative where it has this input and this output.
Slope = Callable[[Site, Array, Array], Array]


def _slope(of: Slope) -> Row:
    return lambda site: (site.gradient * of(site, site.inputs[0], site.outputs[0]),)


def _clip(site: Site, x: Array, y: Array) -> Array:
    del y
    low, high = (
        site.attribute(name, bound) if (given := site.operand(place)) is None else given
        for place, name, bound in ((1, "min", -np.inf), (2, "max", np.inf))
    )
    return np.asarray((x >= low) & (x <= high))


def _hard_swish(site: Site, x: Array, y: Array) -> Array:
    del site, y
    return np.where(x <= -3, 0.0, np.where(x >= 3, 1.0, x / 3 + 0.5)).astype(x.dtype)


def _gelu(site: Site, x: Array, y: Array) -> Array:
    if site.attribute("approximate", b"none") == b"tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        turned = np.tanh(inner)
        slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
        return np.asarray(0.5 * (1 + turned) + 0.5 * x * (1 - turned**2) * slope)
    # The share that passes is y / x; at 0 a half.
    share = np.divide(y, x, out=np.full_like(x, 0.5), where=x != 0)
    return np.asarray(share + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi))


def _sums(site: Site) -> Sequence[Array]:
    return [summed_to(site.gradient, each.shape) for each in site.inputs]


def _difference(site: Site) -> Sequence[Array]:
    a, b = site.inputs
    return summed_to(site.gradient, a.shape), summed_to(-site.gradient, b.shape)


def _product(site: Site) -> Sequence[Array]:
    a, b = site.inputs
    return summed_to(site.gradient * b, a.shape), summed_to(site.gradient * a, b.shape)


def _quotient(site: Site) -> Sequence[Array]:
    a, b = site.inputs
    return summed_to(site.gradient / b, a.shape), summed_to(-site.gradient * site.outputs[0] / b, b.shape)


def _power(site: Site) -> Sequence[Array]:
    base, exponent = site.inputs
    return (summed_to(site.gradient * exponent * base ** (exponent - 1), base.shape),)


def _matmul(site: Site) -> Sequence[Array]:
    a, b = site.inputs
    gradient = site.gradient
    if a.ndim == 1 or b.ndim == 1:  # vectors are matrices of one row or column
        gradient = gradient.reshape(*gradient.shape[: max(0, b.ndim - 2)], *((1,) if a.ndim == 1 else a.shape[:-1]), -1)
    left, right = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    to_left, to_right = gradient @ right.swapaxes(-1, -2), left.swapaxes(-1, -2) @ gradient
    return summed_to(to_left, left.shape).reshape(a.shape), summed_to(to_right, right.shape).reshape(b.shape)


def _gemm(site: Site) -> Sequence[Array]:
    a, b, *added = site.inputs
    gradient = site.gradient * np.float32(site.attribute("alpha", 1.0))
    turned_a, turned_b = (site.attribute(name, 0) for name in ("transA", "transB"))
    to_a = gradient @ (b if turned_b else b.T)
    to_b = (a if turned_a else a.T) @ gradient
    bias = [summed_to(site.gradient * np.float32(site.attribute("beta", 1.0)), each.shape) for each in added]
    return [to_a.T if turned_a else to_a, to_b.T if turned_b else to_b, *bias]


def _batch_norm(site: Site) -> Sequence[Array]:
    x, scale, _, mean, variance = site.inputs
    shape = (1, -1) + (1,) * (x.ndim - 2)
    inverse = 1 / np.sqrt(variance + site.attribute("epsilon", 1e-5))
    axes = (0, *range(2, x.ndim))
    normal = (x - mean.reshape(shape)) * inverse.reshape(shape)
    gradient = site.gradient
    return gradient * (scale * inverse).reshape(shape), (gradient * normal).sum(axis=axes), gradient.sum(axis=axes)


def _layer_norm(site: Site) -> Sequence[Array]:
    x, scale, *shift = site.inputs
    first = site.attribute("axis", -1) % x.ndim
    axes = tuple(range(first, x.ndim))
    middle = x - x.mean(axis=axes, keepdims=True)
    inverse = 1 / np.sqrt((middle**2).mean(axis=axes, keepdims=True) + site.attribute("epsilon", 1e-5))
    normal, gradient = middle * inverse, site.gradient * scale
    means = gradient.mean(axis=axes, keepdims=True), (gradient * normal).mean(axis=axes, keepdims=True)
    to_x = inverse * (gradient - means[0] - normal * means[1])
    return [to_x, summed_to(site.gradient * normal, scale.shape), *(summed_to(site.gradient, s.shape) for s in shift)]


def _softmax(site: Site) -> Sequence[Array]:
    y, axis = site.outputs[0], site.attribute("axis", -1)
    return (y * (site.gradient - (site.gradient * y).sum(axis=axis, keepdims=True)),)


def _reshaped(site: Site) -> Sequence[Array]:
    return (site.gradient.reshape(site.inputs[0].shape),)


def _transposed(site: Site) -> Sequence[Array]:
    axes = site.attribute("perm", tuple(reversed(range(site.gradient.ndim))))
    return (site.gradient.transpose(np.argsort(axes)),)


def _parts(site: Site) -> Sequence[Array]:
    """Of a concatenation."""
    axis = site.attribute("axis", 0)
    ends = np.cumsum([each.shape[axis] for each in site.inputs])[:-1]
    return np.split(site.gradient, ends, axis=axis)


def _joined(site: Site) -> Sequence[Array]:
    """Of a split."""
    return (np.concatenate(site.gradients, axis=site.attribute("axis", 0)),)


def _mean(site: Site) -> Sequence[Array]:
    x = site.inputs[0]
    axes = site.attribute("axes", None)
    if axes is None and len(site.inputs) > 1:
        axes = site.inputs[1].reshape(-1).tolist()
    axes = tuple(axis % x.ndim for axis in axes) if axes else tuple(range(x.ndim))
    shape = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    count = math.prod(x.shape[axis] for axis in axes)
    return (np.broadcast_to(site.gradient.reshape(shape) / np.float32(count), x.shape),)


def _mean_of_space(site: Site) -> Sequence[Array]:
    shape = site.inputs[0].shape
    return (np.broadcast_to(site.gradient / np.float32(math.prod(shape[2:])), shape),)


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "Add": _sums,
        "Sum": _sums,
        "Sub": _difference,
        "Mul": _product,
        "Div": _quotient,
        "Pow": _power,
        "MatMul": _matmul,
        "Gemm": _gemm,
        "Conv": convolution,
        "BatchNormalization": _batch_norm,
        "LayerNormalization": _layer_norm,
        "Softmax": _softmax,
        "MaxPool": max_pool,
        "AveragePool": average_pool,
        "GlobalAveragePool": _mean_of_space,
        "ReduceMean": _mean,
        "Concat": _parts,
        "Split": _joined,
        "Transpose": _transposed,
        **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), _reshaped),
        "Relu": _slope(lambda site, x, y: y > 0),
        "LeakyRelu": _slope(lambda site, x, y: np.where(x > 0, 1, site.attribute("alpha", 0.01)).astype(x.dtype)),
        "Clip": _slope(_clip),
        "Sigmoid": _slope(lambda site, x, y: y * (1 - y)),
        "Tanh": _slope(lambda site, x, y: 1 - y * y),
        "HardSwish": _slope(_hard_swish),
        "HardSigmoid": _slope(lambda site, x, y: ((y > 0) & (y < 1)) * np.float32(site.attribute("alpha", 0.2))),
        "Erf": _slope(lambda site, x, y: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
        "Gelu": _slope(_gelu),
        "Exp": _slope(lambda site, x, y: y),
        "Sqrt": _slope(lambda site, x, y: 0.5 / y),
        "Neg": _slope(lambda site, x, y: np.full_like(x, -1.0)),
    }
)

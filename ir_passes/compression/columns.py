"""What a layer multiplies, as rows of a matrix: for statistics and for least squares over calibration data."""

from __future__ import annotations

import math

import numpy as np

from ..core.constants import Array
from ..core.match import calls
from .layers import Layer


def row_count(layer: Layer, result: Array) -> int:
    """How many products a layer's result is made of: places of an image, rows of a matrix."""
    return int(result.size // max(1, layer.outputs))


def columns_of(layer: Layer, data: Array, result: Array, rows: Array) -> Array:
    """What the layer's weights are multiplied by for some rows of its result.

    Args:
        data: the layer's operand.
        result: what it made of it, for the places of its rows.
        rows: numbers of rows, over the batch and all places.

    Returns:
        float64[rows, groups, inputs * taps], in the order of the weights of one output channel.
    """
    if calls(layer.call, "matmul"):
        return np.asarray(data.reshape(-1, data.shape[-1])[rows].astype(np.float64)[:, None])
    attrs = layer.call.attrs
    rank = data.ndim - 2
    strides, dilation = ([int(each) for each in part] for part in (attrs.strides, attrs.dilation))
    padding = [int(each) for each in attrs.padding]
    padded = np.pad(data, [(0, 0), (0, 0), *zip(padding[:rank], padding[rank:], strict=True)])
    sample, *places = np.unravel_index(rows, (result.shape[0], *result.shape[2:]))
    kernel = layer.weights.shape[2:]
    taps = []
    for tap in np.ndindex(*kernel):
        at = tuple(p * s + t * d for p, s, t, d in zip(places, strides, tap, dilation, strict=True))
        taps.append(padded[(sample, slice(None), *at)])  # [rows, channels]
    stacked = np.stack(taps, axis=-1).astype(np.float64)  # [rows, channels, taps]
    return stacked.reshape(len(rows), layer.linear.groups, -1)


def results_of(layer: Layer, result: Array, rows: Array) -> Array:
    """The same rows of a layer's result: float64[rows, groups, outputs of a group]."""
    flat = np.moveaxis(result, layer.linear.channel_axis, -1).reshape(-1, result.shape[layer.linear.channel_axis])
    return flat[rows].astype(np.float64).reshape(len(rows), layer.linear.groups, -1)


def matrix_of(layer: Layer, weights: Array) -> Array:
    """Weights as one matrix a group, float64[groups, inputs * taps, outputs of a group]."""
    wide = weights.astype(np.float64)
    if calls(layer.call, "matmul"):
        return wide[None]
    groups = layer.linear.groups
    return wide.reshape(groups, wide.shape[0] // groups, -1).transpose(0, 2, 1)


def weights_of(layer: Layer, matrix: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of `matrix_of`, in the dtype of the layer's weights."""
    if calls(layer.call, "matmul"):
        return np.asarray(matrix[0].astype(layer.weights.dtype))
    return matrix.transpose(0, 2, 1).reshape(shape).astype(layer.weights.dtype)


def input_columns(layer: Layer, channels: Array) -> Array:
    """The columns of some input channels of a group."""
    taps = 1 if calls(layer.call, "matmul") else math.prod(layer.weights.shape[2:])
    return np.asarray((np.asarray(channels)[..., None] * taps + np.arange(taps)).reshape(*np.shape(channels)[:-1], -1))


def chosen_rows(count: int, most: int, seed: int) -> Array:
    """At most so many rows of a result, the same for the same seed, in order."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))


def sampled_columns(layer: Layer, data: Array, result: Array, most: int, seed: int) -> Array:
    """`columns_of` at most so many rows, the same ones for the same seed: float64[groups, rows, inputs * taps]."""
    rows = chosen_rows(row_count(layer, result), most, seed)
    return columns_of(layer, data, result, rows).transpose(1, 0, 2)

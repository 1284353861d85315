"""A layer's weights in the order in which zeros are made: output channels by inputs, those of a tap side by side."""

from __future__ import annotations

import math

import numpy as np

from ..core.constants import Array
from ..core.match import calls
from ..operators.linear import TRANSPOSED
from .columns import matrix_of, weights_of
from .layers import Layer


def is_product(layer: Layer) -> bool:
    """Whether a layer is a product of matrices, and no convolution."""
    return calls(layer.call, "matmul")


def is_pointwise(layer: Layer) -> bool:
    """Whether every element of the result is made of one place of the operand."""
    return is_product(layer) or math.prod(layer.weights.shape[2:]) == 1


def can_be_changed(layer: Layer) -> bool:
    """Whether weights are finite, and one matrix: products may have a matrix for each of a batch."""
    if is_product(layer) and layer.weights.ndim != 2:
        return False
    return not calls(layer.call, *TRANSPOSED) and bool(np.isfinite(layer.weights).all())


def matrix_by_outputs(layer: Layer) -> Array:
    """The weights as float64[groups, outputs of a group, inputs], inputs in the order (*kernel, channels)."""
    return matrix_of(layer, layer.weights).swapaxes(1, 2)[..., _order(layer)]


def weights_by_outputs(layer: Layer, matrix: Array) -> Array:
    """The inverse of `matrix_by_outputs`, in the dtype of the layer's weights."""
    own = np.empty_like(matrix)
    own[..., _order(layer)] = matrix
    return weights_of(layer, own.swapaxes(1, 2), layer.weights.shape)


def columns_by_outputs(layer: Layer, columns: Array) -> Array:
    """A layer's columns [groups, rows, inputs] in the order of `matrix_by_outputs`."""
    return np.asarray(columns[..., _order(layer)])


def moments_by_outputs(layer: Layer, gram: Array) -> Array:
    """X^T X over a layer's columns, [groups, inputs, inputs], in the order of `matrix_by_outputs`."""
    order = _order(layer)
    return np.asarray(gram[:, order[:, None], order])


def _order(layer: Layer) -> Array:
    """For each input of the matrix its place among the weights of an output channel, (channels, *kernel)."""
    if is_product(layer):
        return np.arange(layer.weights.shape[0])
    channels, *kernel = layer.weights.shape[1:]
    return np.arange(channels * math.prod(kernel)).reshape(channels, -1).T.reshape(-1)

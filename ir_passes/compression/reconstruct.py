"""Least squares: the weights at given places that come closest to a layer's outputs on calibration data."""

from __future__ import annotations

import numpy as np

from ..core.constants import Array
from .masks import Mask
from .second_order import damped

_MOST_TURNS = 200
_CLOSE = 1e-6  # of the first residual


def following(weights: Array, gram: Array, cross: Array) -> Array:
    """The weights that make of what a layer reads now what it made of what it read before, and else stay as they were.

    Args:
        weights: W, (output channels, inputs), float64.
        gram: X'^T X' of what is read now, (inputs, inputs).
        cross: X'^T X with what was read before.
    """
    return np.asarray(weights + np.linalg.solve(damped(gram), (cross - gram) @ weights.T).T)


def reconstructed(wanted: Array, mask: Mask, moments: Array, start: Array | None = None) -> Array:
    """min ||(W' - W) X|| over weights W' that are zero outside of `mask`, all output channels at once.

    Conjugate gradients on the normal equations, preconditioned by the diagonal of the second moments.

    Args:
        wanted: W, (output channels, inputs), float64.
        moments: (inputs, inputs).
        start: where to begin; W itself, masked, unless given.
    """
    moments = damped(moments)
    weights = np.where(mask, wanted if start is None else start, 0.0)
    inverse = 1.0 / np.diagonal(moments)
    residual = ((wanted - weights) @ moments) * mask
    scaled = residual * inverse
    direction, product = scaled.copy(), (residual * scaled).sum(axis=1)
    enough = product * _CLOSE**2
    for _ in range(_MOST_TURNS):
        if (product <= enough).all():
            break
        image = (direction @ moments) * mask
        length = _quotient(product, (direction * image).sum(axis=1))
        weights += length[:, None] * direction
        residual -= length[:, None] * image
        scaled = residual * inverse
        following = (residual * scaled).sum(axis=1)
        direction = scaled + _quotient(following, product)[:, None] * direction
        product = following
    return weights


def _quotient(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)

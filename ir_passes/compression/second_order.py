"""Second-order pruning: what a layer's outputs on data lose by each weight, and weights that make up for it.

Optimal Brain Surgeon column by column, as SparseGPT does it (Frantar and Alistarh, 2023): with the second moments H of
a layer's inputs, dropping w[c, i] costs w^2 / [H^-1]_ii, and the weights behind i take over what they can of it.
"""

from __future__ import annotations

import math

import numpy as np

from ..core.constants import Array
from .masks import Mask, Pattern, keep

# Of the mean of H's diagonal, added to it: inputs that depend on each other have no inverse.
DAMPING = 0.01
_COLUMNS = 128  # whose masks are chosen at once


def damped(moments: Array, share: float = DAMPING) -> Array:
    """Second moments (inputs, inputs) that have an inverse: inputs that are always 0 count as others would."""
    diagonal = np.diagonal(moments)
    typical = float(diagonal.mean()) or 1.0
    return np.asarray(moments + np.diag(share * typical + np.where(diagonal == 0, typical, 0.0)))


def prune_by_second_order(weights: Array, moments: Array, pattern: Pattern, rate: float) -> tuple[Array, Mask]:
    """Drops weights of one group, and adjusts those that are kept.

    Args:
        weights: (output channels, inputs), float64.
        moments: the mean of x x^T over the inputs x, (inputs, inputs).

    Returns:
        The weights, and which were kept.
    """
    weights, mask = weights.copy(), np.zeros(weights.shape, bool)
    # Row i of the factor holds what column i hands on to those behind it.
    factor = np.linalg.cholesky(np.linalg.inv(damped(moments))).T
    width = pattern.among or max(1, _COLUMNS // pattern.inputs) * pattern.inputs
    inputs = weights.shape[1]
    for start in range(0, inputs, width):
        stop = min(start + width, inputs)
        block, here = weights[:, start:stop], factor[start:stop, start:stop]
        scores = (block / np.diagonal(here)) ** 2
        mask[:, start:stop] = keep(scores[None], pattern, rate)[0]
        errors = np.zeros_like(block)
        for column in range(stop - start):
            dropped = np.where(mask[:, start + column], 0.0, block[:, column])
            errors[:, column] = dropped / here[column, column]
            block[:, column:] -= np.outer(errors[:, column], here[column, column:])
        weights[:, stop:] -= errors @ factor[start:stop, stop:]
    return np.where(mask, weights, 0.0), mask


def output_error(weights: Array, wanted: Array, moments: Array) -> float:
    """How far outputs are from those wanted, as a share of these: ||(W' - W) X|| / ||W X||.

    Args:
        weights, wanted: W' and W, (groups, output channels, inputs).
        moments: (groups, inputs, inputs).
    """
    change = weights - wanted
    lost, all_of_it = (
        float(np.einsum("goi,gij,goj->", each, moments, each, optimize=True)) for each in (change, wanted)
    )
    return math.sqrt(max(lost, 0.0) / all_of_it) if all_of_it > 0 else 0.0

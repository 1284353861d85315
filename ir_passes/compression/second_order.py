"""Second order: what a layer's outputs on data lose by a change of each weight, and weights that make up for it.

Optimal Brain Surgeon column by column, as SparseGPT prunes (Frantar and Alistarh, 2023) and GPTQ rounds (Frantar and
others, 2023): with the second moments H of a layer's inputs, changing w[c, i] by d costs d^2 / [H^-1]_ii, and the
weights behind i take over what they can of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..core.constants import Array
from .masks import Mask, Pattern, keep

# Of the mean of H's diagonal, added to it: inputs that depend on each other have no inverse.
DAMPING = 0.01
COLUMNS = 128  # that are settled before those behind hear of it


def damped(moments: Array, share: float = DAMPING) -> Array:
    """Second moments (inputs, inputs) that have an inverse: inputs that are always 0 count as others would."""
    diagonal = np.diagonal(moments)
    typical = float(diagonal.mean()) or 1.0
    return np.asarray(moments + np.diag(share * typical + np.where(diagonal == 0, typical, 0.0)))


# What the weights of a column become, given its place in the block and what they are by then.
Settle = Callable[[int, Array], Array]


def settled(
    weights: Array, moments: Sequence[Array], width: int, settle: Callable[[int, Array, Array], Settle]
) -> Array:
    """Changes the weights of one group column by column; those behind make up for each change.

    Args:
        weights: (output channels, inputs), float64.
        moments: the mean of x x^T over the inputs x, (inputs, inputs); or of blocks of inputs, one after the other,
            each by itself: then only those of a block make up for each other.
        width: columns that are looked at together before the first of them is changed.
        settle: is given the first column of such a block, its weights, and the square roots of [H^-1]_ii, of the
            inputs from i on alone; gives what settles its columns.
    """
    weights, first = weights.copy(), 0
    for own in moments:
        part = weights[:, first : first + len(own)]
        # Row i of the factor holds what column i hands on to those behind it.
        factor = np.linalg.cholesky(np.linalg.inv(damped(own))).T
        for start in range(0, len(own), width):
            stop = min(start + width, len(own))
            block, here = part[:, start:stop], factor[start:stop, start:stop]
            becomes = settle(first + start, block, np.diagonal(here))
            errors = np.zeros_like(block)
            for column in range(stop - start):
                kept = becomes(column, block[:, column])
                errors[:, column] = (block[:, column] - kept) / here[column, column]
                block[:, column + 1 :] -= np.outer(errors[:, column], here[column, column + 1 :])
                block[:, column] = kept
            part[:, stop:] -= errors @ factor[start:stop, stop:]
        first += len(own)
    return weights


def prune_by_second_order(weights: Array, moments: Array, pattern: Pattern, rate: float) -> tuple[Array, Mask]:
    """Drops weights of one group, and adjusts those that are kept.

    Args:
        weights, moments: as `settled` takes them.

    Returns:
        The weights, and which were kept.
    """
    mask = np.zeros(weights.shape, bool)

    def settle(start: int, block: Array, costs: Array) -> Settle:
        here = mask[:, start : start + block.shape[1]]
        here[:] = keep(((block / costs) ** 2)[None], pattern, rate)[0]
        return lambda column, values: np.where(here[:, column], values, 0.0)

    width = pattern.among or max(1, COLUMNS // pattern.inputs) * pattern.inputs
    return settled(weights, [moments], width, settle), mask


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

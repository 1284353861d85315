"""Weights that are whole multiples of a step already keep it: those that were rounded once are not rounded again.

Whoever rounded them, second-order rounding or a training that knew of integers: where the largest weight did not become
the largest integer, a scale that is taken from it would be another one.
"""

from __future__ import annotations

import numpy as np

from ..core.constants import Array

_PROBES = 4  # rows that tell of most columns that they have no step
_CLOSE = 2e-4  # of a step: what two roundings to float32 leave of multiples up to 128


def own_steps(weights: Array, lowest: int, highest: int) -> Array:
    """The steps by which columns are integers, 0 where there are none: (blocks, 1, columns), float64.

    Where several do, that by which the integers are the largest. Steps are positive if integers reach as far above zero
    as below; otherwise the largest weight, by magnitude, is made one below.

    Args:
        weights: (blocks, rows, columns) of float32; the rows of a block share a step.
        lowest, highest: the range of integers.
    """
    places = np.abs(weights).argmax(1, keepdims=True)
    largest = np.take_along_axis(weights, places, 1).astype(np.float64)
    lopsided = -lowest > highest
    found = np.zeros_like(largest)
    probes = weights[:, :: max(1, weights.shape[1] // _PROBES)].astype(np.float64)
    for whole in range(lowest, 0) if lopsided else range(highest, 0, -1):
        steps = largest / whole if lopsided else np.abs(largest) / whole
        likely = (found == 0) & (largest != 0) & _are_integers(probes, steps, highest)
        block, column = np.nonzero(likely[:, 0])
        if len(block):
            own = weights[block, :, column].astype(np.float64)
            kept = steps[block, 0, column]
            exact = _are_integers(own[..., None], kept[:, None, None], highest)[:, 0, 0]
            found[block[exact], 0, column[exact]] = kept[exact]
    return found


def _are_integers(weights: Array, steps: Array, highest: int) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        integers = weights / steps
        close = np.abs(integers - np.rint(integers)) <= _CLOSE
        return np.asarray((close & (integers <= highest + 0.5)).all(1, keepdims=True))

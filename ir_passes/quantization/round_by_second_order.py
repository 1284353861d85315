"""Rounding by second order: a weight becomes an integer times a step, and those behind it make up for the change.

GPTQ (Frantar, Ashkboos, Hoefler and Alistarh, 2023): the column-by-column sweep of `compression/second_order.py`, whose
change is a rounding. What comes of it are floats that are integers times a step, so that `weight_integers` and
`quantize_weights` find these integers again.
"""

from __future__ import annotations

import numpy as np

from ..compression.second_order import COLUMNS, Settle, settled
from ..core.constants import Array
from .quantize_weights import BYTE, rounded
from .weight_integers import WeightBits

_TINY = float(np.finfo(np.float32).tiny)


def rounded_with_steps(weights: Array, moments: Array, asked: WeightBits) -> Array:
    """Weights of a layer of integers: steps are those that its largest weights ask for.

    Args:
        weights: (groups, output channels, inputs), float64.
        moments: X^T X of what it reads, (groups, inputs, inputs).
    """
    most = 2 ** (asked.bits - 1) - 1
    axes = (0, 1, 2) if asked.granularity == "tensor" else 2
    largest = np.abs(weights).max(axis=axes, keepdims=True)
    steps = np.broadcast_to(np.float32(np.maximum(largest / most, _TINY)), (*weights.shape[:2], 1))

    def of_group(own: Array, moment: Array, step: Array) -> Array:
        def settle(start: int, block: Array, costs: Array) -> Settle:
            return lambda column, values: np.clip(np.rint(values / step), -most, most) * step

        return settled(own, moment, COLUMNS, settle)

    return np.stack([of_group(*each) for each in zip(weights, moments, steps[..., 0].astype(np.float64), strict=True)])


def rounded_in_blocks(weights: Array, moments: Array, bits: int, block: int) -> Array:
    """Weights of a dense layer whose activations stay floats: a block's steps are those that it asks for by then.

    Args:
        weights: (output channels, inputs), float64.
        moments: (inputs, inputs).
        block: inputs that share a step.
    """
    highest = (1 << (bits - 1)) - 1
    lowest = -highest - (bits < BYTE)

    def settle(start: int, values: Array, costs: Array) -> Settle:
        steps = rounded(values.T[None].astype(np.float32), bits)[1].reshape(-1).astype(np.float64)
        return lambda column, given: np.clip(np.rint(given / steps), lowest, highest) * steps

    return settled(weights, moments, block, settle)

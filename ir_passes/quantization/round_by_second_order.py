"""Rounding by second order: a weight becomes an integer times a step, and those behind it make up for the change.

GPTQ (Frantar, Ashkboos, Hoefler and Alistarh, 2023): the column-by-column sweep of `compression/second_order.py`, whose
change is a rounding. What comes of it are floats that are integers times a step, so that `weight_integers` and
`quantize_weights` find these integers again.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compression.second_order import COLUMNS, Settle, settled
from ..core.constants import Array
from .quantize_weights import BYTE, rounded
from .weight_integers import WeightBits

_TINY = float(np.finfo(np.float32).tiny)


def rounded_with_steps(weights: Array, moments: Sequence[Array], asked: WeightBits) -> Array:
    """Weights of a layer of integers: steps are those that its largest weights ask for.

    Args:
        weights: (groups, output channels, inputs), float64.
        moments: X^T X of what it reads, (groups, inputs, inputs), of blocks of inputs that follow each other.
    """
    most = 2 ** (asked.bits - 1) - 1
    axes = (0, 1, 2) if asked.granularity == "tensor" else 2
    largest = np.abs(weights).max(axis=axes, keepdims=True)
    steps = np.broadcast_to(np.float32(np.maximum(largest / most, _TINY)), (*weights.shape[:2], 1))

    def of_group(own: Array, step: Array, *moment: Array) -> Array:
        def settle(start: int, block: Array, costs: Array) -> Settle:
            return lambda column, values: np.clip(np.rint(values / step), -most, most) * step

        return settled(own, moment, COLUMNS, settle)

    found = zip(weights, steps[..., 0].astype(np.float64), *moments, strict=True)
    return np.stack([of_group(*each) for each in found])


def rounded_in_blocks(weights: Array, moments: Sequence[Array], bits: int, block: int) -> Array:
    """Weights of a dense layer whose activations stay floats: a block's steps are those that it asks for by then.

    Args:
        weights: (output channels, inputs), float64.
        moments: (inputs, inputs), of parts of the inputs that follow each other, each of whole blocks.
        block: inputs that share a step.
    """
    highest = (1 << (bits - 1)) - 1
    lowest = -highest - (bits < BYTE)
    of_all = _steps(weights, bits) if block >= weights.shape[1] else None

    def settle(start: int, values: Array, costs: Array) -> Settle:
        steps = _steps(values, bits) if of_all is None else of_all
        return lambda column, given: np.clip(np.rint(given / steps), lowest, highest) * steps

    return settled(weights, moments, COLUMNS if of_all is not None else block, settle)


def _steps(weights: Array, bits: int) -> Array:
    """Of some inputs, one for each output channel."""
    return rounded(weights.T[None].astype(np.float32), bits)[1].reshape(-1).astype(np.float64)

"""Second moments of what layers read, over samples: all that closed forms need of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ...ir_passes.compression.columns import sampled_columns
from ..calibration.samples import Array, Sample
from .refit import ROWS_A_COLUMN
from .trial import Trial
from .weight_homes import Home

if TYPE_CHECKING:
    from ..process.progress import ProgressCallback


def grams_of(
    homes: Sequence[Home], trial: Trial, samples: Sequence[Sample], tell: ProgressCallback
) -> dict[str, Array]:
    """X^T X of what layers multiply their weights by, of each group."""
    grams: dict[str, Array] = {}
    for seed, sample in enumerate(samples):
        tell("second moments", seed, len(samples))
        values = trial.run(sample, {})
        for home in homes:
            layer = home.layer
            most = max(64, ROWS_A_COLUMN * _width(home) // len(samples))
            columns = sampled_columns(layer, values[home.node.source], values[home.node.output], most, seed)
            gram = columns.transpose(0, 2, 1) @ columns
            grams[layer.name] = grams[layer.name] + gram if layer.name in grams else gram
    return grams


def drifts_of(
    homes: Sequence[Home],
    trial: Trial,
    samples: Sequence[Sample],
    weights: Mapping[str, Array],
    before: Mapping[str, Array] = MappingProxyType({}),
) -> dict[str, tuple[Array, Array]]:
    """X'^T X' and X'^T X, where X is what layers read and X' what they read with other weights before them.

    Args:
        weights: by the names of initializers.
        before: those of the network that X is of, where they are not the model's own.
    """
    found: dict[str, tuple[Array, Array]] = {}
    for seed, sample in enumerate(samples):
        own, other = trial.run(sample, before), trial.run(sample, weights)
        for home in homes:
            layer, source, result = home.layer, home.node.source, own[home.node.output]
            most = max(64, ROWS_A_COLUMN * _width(home) // len(samples))
            columns, moved = (sampled_columns(layer, each[source], result, most, seed) for each in (own, other))
            turned = moved.transpose(0, 2, 1)
            gram, cross = found.get(layer.name, (0.0, 0.0))
            found[layer.name] = gram + turned @ moved, cross + turned @ columns
    return found


def gram_bytes(home: Home) -> int:
    """The memory that the X^T X of a layer takes."""
    return 8 * home.layer.linear.groups * _width(home) ** 2 if home.layer.weights.size else 0


def _width(home: Home) -> int:
    """How many columns a layer has, of one group."""
    weights = home.layer.weights
    return int(np.prod(weights.shape[1:] if home.layer.output_axis == 0 else weights.shape[:1]))

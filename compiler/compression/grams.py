"""Second moments of what layers read, over samples: all that closed forms need of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir_passes.compression.columns import chosen_rows, columns_of, row_count
from ..calibration.samples import Array, Sample
from .refit import ROWS_A_COLUMN
from .trial import Trial
from .weight_homes import Home


def grams_of(homes: Sequence[Home], trial: Trial, samples: Sequence[Sample]) -> dict[str, Array]:
    """X^T X of what layers multiply their weights by, of each group."""
    grams: dict[str, Array] = {}
    for seed, sample in enumerate(samples):
        values = trial.run(sample, {})
        for home in homes:
            layer = home.layer
            result = values[home.node.output]
            width = int(np.prod(layer.weights.shape[1:] if layer.output_axis == 0 else layer.weights.shape[:1]))
            rows = chosen_rows(row_count(layer, result), max(64, ROWS_A_COLUMN * width // len(samples)), seed)
            columns = columns_of(layer, values[home.node.source], result, rows).transpose(1, 0, 2)
            gram = columns.transpose(0, 2, 1) @ columns
            grams[layer.name] = grams[layer.name] + gram if layer.name in grams else gram
    return grams

"""A trained network with data of its kind, and what its answers are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

Array = np.ndarray[Any, Any]
Sample = Mapping[str, Array]
# The outputs of a network for each sample, by name.
Results = Sequence[Mapping[str, Array]]
# What results are worth, given the float network's: the more the better.
Score = Callable[[Results, Results], float]


@dataclass(frozen=True)
class Task:
    """One row of the table.

    Attributes:
        name: in the options and the table.
        model: an ONNX file of float32, every size known.
        calibration: samples that ranges may be taken from.
        held: others, which the score is of.
        score: what results are worth.
        metric: what that is, for the table's head.
        most_loss: what int8 may lose of the score.
        further: samples like those for calibration, for what learns from more of them.
    """

    name: str
    model: Path
    calibration: Sequence[Sample]
    held: Sequence[Sample]
    score: Score
    metric: str
    most_loss: float
    further: Sequence[Sample] = ()


def output_of(result: Mapping[str, Array]) -> Array:
    """The first output of a network."""
    return next(iter(result.values()))


def agreement(results: Results, floats: Results) -> float:
    """The share of samples, in per cent, whose class is the float network's."""
    pairs = zip(results, floats, strict=True)
    return 100 * float(np.mean([output_of(a).argmax() == output_of(b).argmax() for a, b in pairs]))


def correlation(found: Sequence[float], wanted: Sequence[float]) -> float:
    """Spearman's rank correlation."""
    return float(spearmanr(found, wanted).statistic)

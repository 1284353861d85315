"""The cost model: ranks the choices of a workload before they are measured (XGBoost, LambdaMART on pairs).

What is learned is the order within a workload, of ratios to the default's time, so that workloads and machines of other
speeds teach each other. Features that a sample lacks are missing values, which XGBoost's trees know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .features import Features

Array = npt.NDArray[Any]
_LEAST = 8  # measured choices, below which the order of the estimates is better
_ROUNDS = 60
_PARAMETERS = {
    "objective": "rank:pairwise",
    "eta": 0.2,
    "max_depth": 5,
    "min_child_weight": 1.0,
    "lambda": 1.0,
    "tree_method": "exact",
    "nthread": 1,
    "seed": 0,
    "verbosity": 0,
}


@dataclass(frozen=True)
class Sample:
    """One measured choice: the group whose order it belongs to, its features, and its time over the default's."""

    group: str
    features: Features
    ratio: float


class CostModel:
    """Learns from samples, and scores choices: the lower, the faster."""

    def __init__(self, pretrained: Path | None = None) -> None:
        """Starts from nothing, or from trees that were trained before."""
        self._names: list[str] = []
        self._booster: Any = None
        if pretrained is not None and pretrained.exists():
            import xgboost

            self._booster = xgboost.Booster(_PARAMETERS, model_file=str(pretrained))
            self._names = list(self._booster.feature_names or ())

    @property
    def is_trained(self) -> bool:
        """Whether it can say anything."""
        return self._booster is not None

    def train(self, samples: Sequence[Sample]) -> None:
        """Learns all samples anew; too few of them change nothing."""
        if len(samples) < _LEAST:
            return
        import xgboost

        groups: dict[str, list[Sample]] = {}
        for sample in samples:
            groups.setdefault(sample.group, []).append(sample)
        ordered = [sample for group in groups.values() for sample in group]
        self._names = sorted({name for sample in ordered for name in sample.features})
        # Relevance grows with speed: XGBoost ranks the greatest first.
        relevance = [_relevance(sample.ratio) for sample in ordered]
        matrix = xgboost.DMatrix(
            self._matrix([sample.features for sample in ordered]), label=relevance, feature_names=self._names
        )
        matrix.set_group([len(group) for group in groups.values()])
        self._booster = xgboost.train(_PARAMETERS, matrix, num_boost_round=_ROUNDS)

    def scores(self, features: Sequence[Features]) -> Array:
        """The lower, the faster; only comparable within a workload."""
        import xgboost

        matrix = xgboost.DMatrix(self._matrix(features), feature_names=self._names)
        scores: Array = -self._booster.predict(matrix)
        return scores

    def save(self, path: Path) -> None:
        """Writes the trees, as JSON."""
        self._booster.save_model(str(path))

    def _matrix(self, features: Sequence[Features]) -> Array:
        return np.array([[each.get(name, math.nan) for name in self._names] for each in features], np.float32)


def _relevance(ratio: float) -> float:
    """Above 0 and the greater, the faster; 0 for what failed."""
    return max(0.0, 8.0 - math.log2(max(ratio, 2**-8))) if math.isfinite(ratio) else 0.0


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: 1 where both are in the same order, -1 in the opposite one."""
    if len(first) < 2:
        return math.nan
    ranks = [np.argsort(np.argsort(np.asarray(each))).astype(np.float64) for each in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])

"""The cost model: ranks the choices of a workload before they are measured (XGBoost, LambdaMART on pairs).

What is learned is the order within a workload, of ratios to the default's time, so that workloads and machines of other
speeds teach each other. Features that a sample lacks are missing values, which XGBoost's trees know. Scores start from
the analytic estimate, which the trees correct, and from trees that were trained before, on many workloads, to which
what is measured adds more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...targets.target import Target
from .features import ESTIMATE, Features

Array = npt.NDArray[Any]
PRETRAINED = Path(__file__).with_name("pretrained")
_LEAST = 8  # measured choices, below which the order of the estimates is better
_ROUNDS, _ROUNDS_AFTER, _ROUNDS_BEFORE = 60, 30, 80  # of boosting: from nothing, after pretraining, and in it
_ESTIMATE_WEIGHT = 2.0  # of the scores where they start, for each factor of two in the estimate
_FAILED = 16.0  # the ratio that a failed choice counts as, and the greatest
_PARAMETERS = {
    "objective": "rank:pairwise",
    "eta": 0.2,
    "max_depth": 4,
    "min_child_weight": 3.0,
    "lambda": 1.0,
    "tree_method": "exact",
    "nthread": 1,
    "seed": 0,
    "verbosity": 0,
}
_GENTLY = {"eta": 0.05, "lambda": 10.0}  # what many workloads have in common shows in small steps, of many samples


@dataclass(frozen=True)
class Sample:
    """One measured choice: the group whose order it belongs to, its features, and its time over the default's."""

    group: str
    features: Features
    ratio: float


def pretrained_for(target: Target) -> Path:
    """Where the trees for targets with such instructions are, if there are any."""
    name = "".join(letter for letter in target.isa.lower() if letter.isalnum())
    return PRETRAINED / f"{target.arch}-{name}.ubj"


class CostModel:
    """Learns from samples, and scores choices: the lower, the faster."""

    def __init__(self, pretrained: Path | None = None) -> None:
        """Starts from nothing, or from trees that were trained before, where that file is."""
        self._names: list[str] = []
        self._start: Any = None
        if pretrained is not None and pretrained.exists():
            import xgboost

            self._start = xgboost.Booster(_PARAMETERS, model_file=str(pretrained))
            self._names = list(self._start.feature_names or ())
        self._booster = self._start

    @property
    def is_trained(self) -> bool:
        """Whether it can say anything."""
        return self._booster is not None

    def train(self, samples: Sequence[Sample]) -> None:
        """Learns all samples anew, on top of what was trained before; too few of them change nothing."""
        most = _ROUNDS if self._start is None else _ROUNDS_AFTER
        self._learn(samples, min(most, len(samples)), _PARAMETERS)  # few samples correct little

    def pretrain(self, samples: Sequence[Sample]) -> None:
        """Learns the samples of many workloads, for `save`."""
        self._learn(samples, _ROUNDS_BEFORE, _PARAMETERS | _GENTLY)

    def _learn(self, samples: Sequence[Sample], rounds: int, parameters: Mapping[str, Any]) -> None:
        if len(samples) < _LEAST:
            return
        import xgboost

        groups: dict[str, list[Sample]] = {}
        for sample in samples:
            groups.setdefault(sample.group, []).append(sample)
        ordered = [sample for group in groups.values() for sample in group]
        if self._start is None:
            self._names = sorted({name for sample in ordered for name in sample.features})
        # Relevance grows with speed: XGBoost ranks the greatest first.
        relevance = [_relevance(sample.ratio) for sample in ordered]
        matrix = self._matrix([sample.features for sample in ordered], label=relevance)
        matrix.set_group([len(group) for group in groups.values()])
        self._booster = xgboost.train(parameters, matrix, num_boost_round=rounds, xgb_model=self._start)

    def scores(self, features: Sequence[Features]) -> Array:
        """The lower, the faster; only comparable within a workload."""
        scores: Array = -self._booster.predict(self._matrix(features))
        return scores

    def save(self, path: Path) -> None:
        """Writes the trees, as JSON or, where the name ends so, as universal binary JSON (.ubj)."""
        self._booster.save_model(str(path))

    def _matrix(self, features: Sequence[Features], **more: Any) -> Any:
        import xgboost

        table = np.array([[each.get(name, math.nan) for name in self._names] for each in features], np.float32)
        start = np.array([-_ESTIMATE_WEIGHT * each[ESTIMATE] for each in features], np.float32)
        return xgboost.DMatrix(table, base_margin=start, feature_names=self._names, **more)


def _relevance(ratio: float) -> float:
    """Above 0 and the greater, the faster: factors of time are steps."""
    return 8.0 - 2 * math.log2(min(max(ratio, 2**-4), _FAILED)) if math.isfinite(ratio) else 0.0


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's: 1 where both are in the same order, -1 in the opposite one."""
    if len(first) < 2:
        return math.nan
    ranks = [np.argsort(np.argsort(np.asarray(each))).astype(np.float64) for each in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def top_recall(scores: Sequence[float], times: Sequence[float], count: int) -> float:
    """The best time among so many choices of the lowest scores: the best of all over it, 1 where it is among them."""
    chosen = sorted(range(len(scores)), key=lambda place: (scores[place], place))[:count]
    return min(times) / min(times[place] for place in chosen)

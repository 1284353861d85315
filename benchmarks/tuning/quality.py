"""How well choices are ranked before they are measured: by the estimate, and by cost models that know more or less."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from tilewright.compiler.reports.curves import svg
from tilewright.schedules.tuner.cost_model import CostModel, Sample, rank_correlation, top_recall

from ..measurement import write_file
from ..report import made_by, table_head, table_row

_LEAST_SAMPLES = 8  # of a workload, to be judged
_KNOWN = 4  # of a workload, that a model has seen which learns it
_TOPS = (1, 3, 5)
_MOST_SHOWN = 16  # choices, up to which the plot counts
_TEMPORARY = "pretrained.ubj"

# The scores of the second samples, of which the first were measured.
Ranking = Callable[[Sequence[Sample], Sequence[Sample]], Sequence[float]]


@dataclass(frozen=True)
class Quality:
    """How well workloads were ranked, means over them.

    Attributes:
        correlation: Spearman's, of scores and times.
        tops: for each number of choices the best time of all over the best among as many of the best scores.
        workloads: how many.
    """

    correlation: float
    tops: tuple[float, ...]
    workloads: int


def judged(learned: Sequence[Sample], held_out: Sequence[Sample], folder: Path | None = None) -> dict[str, Quality]:
    """The quality of each ranking, on workloads that no model was pretrained with."""
    place = (folder or Path("build/tuning")) / _TEMPORARY
    place.parent.mkdir(parents=True, exist_ok=True)
    pretrained = CostModel()
    pretrained.pretrain(learned)
    pretrained.save(place)

    def model(start: Path | None, *, learns: bool) -> Ranking:
        def rank(known: Sequence[Sample], rest: Sequence[Sample]) -> Sequence[float]:
            made = CostModel(start)
            if learns:
                made.train([*known, *known])  # so few that they would be taken for none
            return [float(score) for score in made.scores([each.features for each in rest])]

        return rank

    rankings: Mapping[str, Ranking] = {
        "estimate": lambda known, rest: [each.features["estimate"] for each in rest],
        f"untrained, {_KNOWN} measured": model(None, learns=True),
        "pretrained": model(place, learns=False),
        f"pretrained, {_KNOWN} measured": model(place, learns=True),
    }
    groups = _groups(held_out)
    found = {name: _quality(rank, groups) for name, rank in rankings.items()}
    place.unlink()
    return found


def _groups(samples: Sequence[Sample]) -> list[list[Sample]]:
    by_group: dict[str, list[Sample]] = {}
    for sample in samples:
        if math.isfinite(sample.ratio):
            by_group.setdefault(sample.group, []).append(sample)
    return [each for each in by_group.values() if len(each) >= _LEAST_SAMPLES]


def _quality(rank: Ranking, groups: Sequence[Sequence[Sample]]) -> Quality:
    correlations, tops = [], []
    for group in groups:
        order = list(group)
        random.Random(0).shuffle(order)
        known, rest = order[:_KNOWN], order[_KNOWN:]
        scores, times = rank(known, rest), [each.ratio for each in rest]
        correlation = rank_correlation(scores, times)
        correlations.append(0.0 if math.isnan(correlation) else correlation)
        counts = range(1, _MOST_SHOWN + 1)
        tops.append([top_recall(scores, times, count) for count in counts])
    if not groups:
        return Quality(math.nan, (math.nan,) * _MOST_SHOWN, 0)
    return Quality(fmean(correlations), tuple(float(each) for each in np.mean(tops, axis=0)), len(groups))


def plot(path: Path, table: Mapping[str, Quality]) -> bool:
    """Draws how near the best one comes with so many choices; whether there was something to draw."""
    lines = {name: list(enumerate(quality.tops, 1)) for name, quality in table.items() if quality.workloads}
    text = svg("Best of so many choices, in the order of each ranking", "choices", "best time of all / theirs", lines)
    if text:
        write_file(path, text)
    return bool(text)


def markdown(
    table: Mapping[str, Quality],
    machine: str,
    samples: Sequence[Sample],
    learned: Sequence[Sample],
    picture: str,
    command: str,
) -> str:
    """The page."""
    counts = [len({sample.group for sample in each}) for each in (samples, learned)]
    head = ("ranking", "Spearman", *(f"top {count}" for count in _TOPS), "workloads")
    rows = [
        table_row(
            (
                name,
                f"{quality.correlation:.2f}",
                *(f"{quality.tops[count - 1]:.3f}" for count in _TOPS),
                str(quality.workloads),
            )
        )
        for name, quality in table.items()
    ]
    return "\n".join(
        [
            "# How well the tuner's cost model ranks choices",
            "",
            f"{machine}. {len(samples)} measured choices of {counts[0]} workloads; {counts[1]} of the workloads were "
            f"learned, the others are judged: of each, {_KNOWN} choices at random are shown to the models that say so, "
            "and all rankings order the rest. Spearman: the rank correlation of scores and times within a workload, "
            "the mean over workloads. Top n: the best time of all over the best of the first n.",
            "",
            *table_head(head),
            *rows,
            "",
            *([f"![curves]({picture})", ""] if picture else []),
            *made_by(command),
        ]
    )

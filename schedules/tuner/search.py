"""The search: for each workload which choice to measure next, and when to stop.

A task is a workload with all its choices. Proposals come from three places, in turn: the best by the cost model (the
estimates, as long as it knows nothing), the best by it among those that differ in one thing from the fastest so far,
and now and then one at random, so that the model learns what it does not believe.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from typing import Any

from ...targets.target import Target
from ..templates.choices import Choice
from ..templates.keys import key_of
from ..templates.template import Choose, Decision, Template, choose_default
from .cost_model import CostModel, Sample
from .features import Features, features_of

# Choices of a workload that are looked at: the rest of a larger space is sampled.
_MOST_CANDIDATES = 3000
_MOST_ENUMERATED = 12000
_PATIENCE = 10  # measurements in a row without a gain, after which a task is done
_GAIN = 0.01  # what counts as one
_RANDOM_SHARE, _NEAR_SHARE = 0.15, 0.35
# Before so many measurements of a workload more are drawn at random: the estimates alone say the same over and over.
_FIRST, _FIRST_RANDOM_SHARE = 8, 0.5


@dataclass
class Candidate:
    """One way to compute a workload.

    Attributes:
        ratio: its time over the default's, the greatest that was measured; infinite where it failed.
        is_confirmed: whether it was measured again because it seemed the fastest.
    """

    decision: Decision[Any, Any]
    estimate: float
    features: Features
    ratio: float | None = None
    is_confirmed: bool = False


@dataclass
class Task:
    """A workload, all ways to compute it, and what is known of them.

    Attributes:
        key: `keys.key_of` the workload.
        default: what is chosen without tuning.
        candidates: the others, the best estimates first.
        size: of the whole space.
        seconds: that its kernels take in one run with the default.
        default_features: those of the default, whose ratio is 1.
        since: measurements since the last gain.
        tried: choices measured.
    """

    key: str
    default: Decision[Any, Any]
    candidates: list[Candidate]
    size: int
    default_features: Features
    seconds: float = 0.0
    since: int = 0
    tried: int = 0

    @property
    def best(self) -> Candidate | None:
        """The fastest so far, if one is faster than the default."""
        measured = [each for each in self.candidates if each.ratio is not None and each.ratio < 1 - _GAIN]
        return min(measured, key=lambda each: each.ratio or math.inf, default=None)

    @property
    def is_done(self) -> bool:
        """Whether more measurements are not worth their time."""
        return self.since >= _PATIENCE or all(each.ratio is not None for each in self.candidates)

    def learn(self, candidate: Candidate, ratio: float) -> None:
        """Takes in a measurement: the time over the default's, infinite for a failure."""
        before = self.best.ratio if self.best is not None and self.best.ratio is not None else 1.0
        self.tried += candidate.ratio is None
        candidate.ratio = ratio if candidate.ratio is None else max(ratio, candidate.ratio)
        self.since = 0 if ratio < before - _GAIN else self.since + 1


def make_task(templates: Sequence[Template[Any, Any]], workload: Any, target: Target, random_: random.Random) -> Task:
    """The task of a workload that these templates take."""
    default = choose_default(templates, workload, target)
    found: list[Candidate] = []
    size = 0
    for template in templates:
        choices = list(islice(template.space(workload, target), _MOST_ENUMERATED))
        size += len(choices)
        decisions = [Decision(template, workload, choice) for choice in choices]
        found += [
            Candidate(each, template.estimate(workload, each.choice, target), {})
            for each in decisions
            if (each.template.name, each.choice) != (default.template.name, default.choice)
        ]
    found.sort(key=lambda each: each.estimate)
    if len(found) > _MOST_CANDIDATES:
        kept, rest = found[: _MOST_CANDIDATES // 2], found[_MOST_CANDIDATES // 2 :]
        found = [*kept, *sorted(random_.sample(rest, _MOST_CANDIDATES - len(kept)), key=lambda each: each.estimate)]
    for each in found:
        each.features = features_of(each.decision, target)
    return Task(key_of(workload), default, found, size, features_of(default, target))


class Search:
    """Proposes what to measure for all tasks, and learns from it."""

    def __init__(self, model: CostModel, seed: int = 0) -> None:
        self._model = model
        self._random = random.Random(seed)
        self._samples: list[Sample] = []
        self._defaults: dict[str, Sample] = {}  # of the tasks that there are samples of

    def learn(self, measured: Iterable[tuple[Task, Candidate, float]]) -> None:
        """Takes in a generation of measurements and trains the model anew."""
        for task, candidate, ratio in measured:
            task.learn(candidate, ratio)
            self._samples.append(Sample(task.key, candidate.features, ratio))
            self._defaults.setdefault(task.key, Sample(task.key, task.default_features, 1.0))
        self._model.train([*self._samples, *self._defaults.values()])

    def proposals(self, task: Task) -> Iterator[Candidate]:
        """Choices to measure, the most promising first; none twice."""
        left = [each for each in task.candidates if each.ratio is None]
        if not left:
            return
        ranked = self._ranked(left)
        draw = self._random.random()
        if draw < (_RANDOM_SHARE if task.tried >= _FIRST else _FIRST_RANDOM_SHARE):
            yield self._random.choice(left)
        elif draw < _RANDOM_SHARE + _NEAR_SHARE and task.best is not None:
            near = [each for each in ranked if _differ(each.decision, task.best.decision) <= 1]
            yield from near
        yield from ranked

    def _ranked(self, candidates: list[Candidate]) -> list[Candidate]:
        if not self._model.is_trained:
            return candidates
        scores = self._model.scores([each.features for each in candidates])
        order = sorted(range(len(candidates)), key=lambda index: (float(scores[index]), index))
        return [candidates[index] for index in order]


def _differ(first: Decision[Any, Any], second: Decision[Any, Any]) -> int:
    """In how many fields two choices differ; of different templates, in more than any."""
    if type(first.choice) is not type(second.choice):
        return 1 << 10
    return sum(_differences(first.choice, second.choice))


def _differences(first: Choice, second: Choice) -> Iterator[int]:
    for each in fields(first):
        mine, other = getattr(first, each.name), getattr(second, each.name)
        if isinstance(mine, Choice) and type(mine) is type(other):
            yield from _differences(mine, other)
        else:
            yield int(mine != other)


class Collector:
    """A chooser that takes the defaults, and notes every workload that it was asked about."""

    def __init__(self) -> None:
        self.asked: dict[str, tuple[Sequence[Template[Any, Any]], Any]] = {}

    def __call__(self, templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        """The default."""
        self.asked[key_of(workload)] = (tuple(templates), workload)
        return choose_default(templates, workload, target)


def choosing(decisions: dict[str, Decision[Any, Any]]) -> Choose:
    """A chooser that takes these decisions, by the keys of their workloads, and else the defaults."""

    def choose(templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        return decisions.get(key_of(workload)) or choose_default(templates, workload, target)

    return choose

"""The search: for each workload which choices to measure next, where time is best spent, and when to stop.

A task is a workload with all its choices. Proposals come from three places: the best by the cost model (the estimates,
as long as it knows nothing), the best by it among those that differ in one thing from the fastest so far, and now and
then one at random, so that the model learns what it does not believe.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any

from ...targets.target import Target
from ..templates.choices import Choice
from ..templates.keys import key_of
from ..templates.template import Choose, Decision, Template, choose_default
from .cost_model import CostModel, Sample
from .features import Features, features_of

# Choices of a workload that are counted, that are estimated (a sample of those), and that are looked at: the best by
# their estimates and as many others.
_MOST_COUNTED, _MOST_ESTIMATED, _MOST_CANDIDATES = 50_000, 3000, 1000
_PATIENCE = 16  # measurements in a row without a gain, after which a task is done
_GAIN = 0.01  # what counts as one
_RANDOM_SHARE, _NEAR_SHARE = 0.1, 0.4
# Before so many measurements of a workload more are drawn at random where nothing was learned before: the estimates
# alone say the same over and over.
_FIRST, _FIRST_RANDOM_SHARE = 8, 0.4
_FADING = 0.85  # what each measurement without a gain leaves of what a task promises


@dataclass
class Candidate:
    """One way to compute a workload.

    Attributes:
        ratio: its time over the default's, the greatest that was measured; infinite where it failed.
        is_confirmed: whether it was measured again because it seemed the fastest.
        attempts: measurements that noise made useless.
    """

    decision: Decision[Any, Any]
    estimate: float
    features: Features
    ratio: float | None = None
    is_confirmed: bool = False
    attempts: int = 0


@dataclass
class Task:
    """A workload, all ways to compute it, and what is known of them.

    Attributes:
        key: `keys.key_of` the workload.
        default: what is chosen without tuning.
        candidates: the others, the best estimates first.
        size: of the whole space, as far as it was counted.
        sizes: of it, by template.
        default_features: those of the default, whose ratio is 1.
        seconds: that its kernels take in one run with the default.
        since: measurements since the last gain.
        curve: the best ratio after each measurement.
    """

    key: str
    default: Decision[Any, Any]
    candidates: list[Candidate]
    size: int
    default_features: Features
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    since: int = 0
    curve: list[float] = field(default_factory=list)

    @property
    def tried(self) -> int:
        """Choices measured."""
        return len(self.curve)

    @property
    def best(self) -> Candidate | None:
        """The fastest so far, if one is faster than the default."""
        measured = [each for each in self.candidates if each.ratio is not None and each.ratio < 1 - _GAIN]
        return min(measured, key=lambda each: each.ratio or math.inf, default=None)

    @property
    def best_ratio(self) -> float:
        """Of the fastest so far, the default's included."""
        return self.best.ratio if self.best is not None and self.best.ratio is not None else 1.0

    @property
    def is_done(self) -> bool:
        """Whether more measurements are not worth their time."""
        return self.since >= _PATIENCE or self.is_exhausted

    @property
    def is_exhausted(self) -> bool:
        """Whether all candidates were measured."""
        return all(each.ratio is not None for each in self.candidates)

    def promise(self, more: int = 0) -> float:
        """Seconds that a further measurement may win, after so many more without a gain."""
        return self.seconds * self.best_ratio * _FADING ** (self.since + more)

    def learn(self, candidate: Candidate, ratio: float) -> None:
        """Takes in a measurement: the time over the default's, infinite for a failure."""
        before, is_new = self.best_ratio, candidate.ratio is None
        candidate.ratio = ratio if candidate.ratio is None else max(ratio, candidate.ratio)
        if is_new:
            self.since = 0 if ratio < before - _GAIN else self.since + 1
            self.curve.append(min(ratio, self.curve[-1] if self.curve else 1.0))


def make_task(
    templates: Sequence[Template[Any, Any]],
    workload: Any,
    target: Target,
    random_: random.Random,
    choose: Choose = choose_default,
) -> Task:
    """The task of a workload that these templates take; `choose` says what its default is."""
    default = choose(templates, workload, target)
    default_estimate = default.cycles(target)
    every: list[Decision[Any, Any]] = []
    sizes: dict[str, int] = {}
    for template in templates:
        choices = list(islice(template.space(workload, target), _MOST_COUNTED))
        sizes[template.name] = len(choices)
        every += [Decision(template, workload, choice) for choice in choices]
    size = len(every)
    if len(every) > _MOST_ESTIMATED:
        every = random_.sample(every, _MOST_ESTIMATED)
    known = (default.template.name, default.choice)
    found = [(each.cycles(target), each) for each in every if (each.template.name, each.choice) != known]
    found.sort(key=lambda each: each[0])
    if len(found) > _MOST_CANDIDATES:
        kept, rest = found[: _MOST_CANDIDATES // 2], found[_MOST_CANDIDATES // 2 :]
        found = [*kept, *sorted(random_.sample(rest, _MOST_CANDIDATES - len(kept)), key=lambda each: each[0])]
    candidates = [
        Candidate(each, estimate, features_of(each, target, estimate, default_estimate)) for estimate, each in found
    ]
    default_features = features_of(default, target, default_estimate, default_estimate)
    return Task(key_of(workload), default, candidates, size, default_features, sizes)


class Search:
    """Proposes what to measure for all tasks, and learns from it."""

    def __init__(self, model: CostModel, seed: int = 0) -> None:
        self._model = model
        self._starts_trained = model.is_trained
        self._random = random.Random(seed)
        self._samples: list[Sample] = []
        self._defaults: dict[str, Sample] = {}  # of the tasks that there are samples of

    def learn(self, measured: Iterable[tuple[Task, Candidate, float]]) -> None:
        """Takes in a generation of measurements and trains the model anew."""
        before = len(self._samples)
        for task, candidate, ratio in measured:
            task.learn(candidate, ratio)
            self._samples.append(Sample(task.key, candidate.features, ratio))
            self._defaults.setdefault(task.key, Sample(task.key, task.default_features, 1.0))
        if len(self._samples) > before:
            self._model.train([*self._samples, *self._defaults.values()])

    def proposals(self, task: Task, count: int = 1) -> list[Candidate]:
        """So many choices to measure, fewer where no more are left; none that was measured."""
        left = [each for each in task.candidates if each.ratio is None]
        ranked = self._ranked(left) if left else []
        near = ranked
        if task.best is not None:
            best = task.best.decision
            near = [each for each in ranked if _differ(each.decision, best) <= 1] or ranked
        found: dict[int, Candidate] = {}
        while len(found) < min(count, len(left)):
            share = _RANDOM_SHARE
            if not self._starts_trained and task.tried + len(found) < _FIRST:
                share = _FIRST_RANDOM_SHARE
            draw = self._random.random()
            source = near if share <= draw < share + _NEAR_SHARE else ranked
            fresh = [each for each in source if id(each) not in found] or [e for e in ranked if id(e) not in found]
            chosen = self._random.choice(fresh) if draw < share else fresh[0]
            found[id(chosen)] = chosen
        return list(found.values())

    def _ranked(self, candidates: list[Candidate]) -> list[Candidate]:
        if not self._model.is_trained:
            return candidates
        scores = self._model.scores([each.features for each in candidates])
        order = sorted(range(len(candidates)), key=lambda index: (float(scores[index]), index))
        return [candidates[index] for index in order]


class Sampling:
    """Proposes choices that show all of a space, and learns nothing: half of them at random, half of good estimates."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def learn(self, measured: Iterable[tuple[Task, Candidate, float]]) -> None:
        """Notes what was measured."""
        for task, candidate, ratio in measured:
            task.learn(candidate, ratio)

    def proposals(self, task: Task, count: int = 1) -> list[Candidate]:
        """So many choices that were not measured."""
        left = [each for each in task.candidates if each.ratio is None]
        best = left[: max(2 * count, len(left) // 8)]
        chosen = self._random.sample(best, min(len(best), (count + 1) // 2))
        rest = [each for each in left if all(each is not other for other in chosen)]
        return [*chosen, *self._random.sample(rest, min(len(rest), count - len(chosen)))]


def shared_out(tasks: Sequence[Task], count: int, most_each: int) -> dict[int, int]:
    """How many of so many measurements each task gets, by its place: each where most seconds may be won."""
    found: dict[int, int] = {}
    for _ in range(count):
        open_ = [place for place in range(len(tasks)) if found.get(place, 0) < most_each]
        if not open_:
            break
        place = max(open_, key=lambda each: tasks[each].promise(found.get(each, 0)))
        found[place] = found.get(place, 0) + 1
    return found


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

    def __init__(self, choose: Choose = choose_default) -> None:
        self._choose = choose
        self.asked: dict[str, tuple[Sequence[Template[Any, Any]], Any]] = {}

    def __call__(self, templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        """The default."""
        self.asked[key_of(workload)] = (tuple(templates), workload)
        return self._choose(templates, workload, target)


def choosing(decisions: dict[str, Decision[Any, Any]], otherwise: Choose = choose_default) -> Choose:
    """A chooser that takes these decisions, by the keys of their workloads."""

    def choose(templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
        return decisions.get(key_of(workload)) or otherwise(templates, workload, target)

    return choose

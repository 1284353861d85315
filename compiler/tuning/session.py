"""One run of the tuner: generations of candidates, each a library of many of them.

A generation takes candidates of the tasks that promise most, so that what building and starting costs is shared by them
all. What it found is written to the records before the next begins.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...schedules.templates.template import Choose, Decision, choose_default
from ...schedules.tuner.cost_model import CostModel, pretrained_for
from ...schedules.tuner.records import OK, Record, Writer, fingerprint
from ...schedules.tuner.search import Candidate, Collector, Search, Task, make_task, shared_out
from ..options import CompileOptions
from ..process.temporary import temporary_folder
from ..version import version
from .excerpt import excerpt
from .trial_library import NOISY, Result, TrialLibrary

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...targets import Target
    from ..process.workers import Workers

_SHARE = 0.003  # of the time of all kernels, below which a task is left alone
_SLOTS, _MOST_EACH = 24, 8  # candidates in a generation, and of one task at most
_LEAST_EACH = 4  # that a task gets of them where there are few tasks
_CONFIRM_SECONDS = 1.5
_CONFIRMATIONS = 3  # rounds of measuring winners again
_CLOSE, _MOST_CLOSE = 1.03, 2  # which others are measured again with the winner: those as fast but for so much
_MOST_ATTEMPTS = 2  # at measuring one candidate, where there is noise

Chosen = list[tuple[Task, Candidate]]


class Proposer(Protocol):
    """What says which choices to measure (`Search`)."""

    def learn(self, measured: Sequence[tuple[Task, Candidate, float]]) -> None:
        """Takes in measurements, ratios to the default's time."""

    def proposals(self, task: Task, count: int) -> list[Candidate]:
        """So many choices of a task to measure."""
        ...


@dataclass(frozen=True)
class Moment:
    """How far a run was after a generation: seconds passed, candidates measured, seconds of one run of all kernels."""

    seconds: float
    trials: int
    best_seconds: float


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        tasks: all of them, those of the most time first; with what is known of each.
        generation: how many were measured.
        measured: candidates that this run measured.
        failed: of those, the ones that must not be used, by why.
        seconds: that have passed.
        stage: what it does now.
        history: after each generation.
    """

    tasks: list[Task] = field(default_factory=list)
    generation: int = 0
    measured: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    stage: str = ""
    history: list[Moment] = field(default_factory=list)

    @property
    def trials(self) -> int:
        """Candidates measured, by earlier runs too."""
        return sum(task.tried for task in self.tasks)

    @property
    def default_seconds(self) -> float:
        """Of one run of all kernels, as they are without tuning."""
        return sum(task.seconds for task in self.tasks)

    @property
    def best_seconds(self) -> float:
        """The same with the best that is known."""
        return sum(task.seconds * task.best_ratio for task in self.tasks)


@dataclass(frozen=True)
class Limits:
    """How much a run may do.

    Attributes:
        seconds, trials, trials_of_each: in all, candidates, candidates of one workload; None: no limit.
        stops_early: whether a workload of which nothing was won for long, or that takes little time, is left alone, and
            winners are measured again.
        measure_seconds: that candidates of a generation run, without noise.
    """

    seconds: float | None = None
    trials: int | None = None
    trials_of_each: int | None = None
    stops_early: bool = True
    measure_seconds: float = 0.6


def tune(
    model: str | Path | OpenedModel,
    options: CompileOptions,
    records: Path,
    limits: Limits,
    *,
    known: Sequence[Record] = (),
    workers: Workers | None = None,
    seed: int = 0,
    tell: Callable[[Progress], None] = lambda progress: None,
    defaults: Choose = choose_default,
    proposer: Callable[[Target], Proposer] | None = None,
    wanted: Callable[[object], bool] = lambda workload: True,
) -> Progress:
    """Searches until nothing more is to be won, or a limit is reached.

    Args:
        options: how the model will be compiled; the threads are those that its choices are for.
        records: the file that results are appended to.
        known: records of earlier runs: what they measured is not measured again.
        tell: called whenever there is news.
        defaults: chooses what candidates are compared with.
        proposer: makes what searches; by default a `Search` that starts from what was learned for such targets.
        wanted: which workloads to search for.

    Raises:
        TilewrightError: of compiling the model, or of a file that cannot be written.
    """
    make = proposer or (lambda target: Search(CostModel(pretrained_for(target)), seed))
    run = _Run(options, limits, workers, seed, tell, defaults, wanted)
    writer = Writer(records)
    try:
        with temporary_folder() as folder:
            run.begin(model, folder, known, make)
            for found in run.generations():
                writer.append(found)
    finally:
        writer.close()
    return run.progress


class _Run:
    def __init__(
        self,
        options: CompileOptions,
        limits: Limits,
        workers: Workers | None,
        seed: int,
        tell: Callable[[Progress], None],
        defaults: Choose,
        wanted: Callable[[object], bool],
    ) -> None:
        self._options = options
        self._limits = limits
        self._workers = workers
        self._seed = seed
        self._tell = tell
        self._choose_default = defaults
        self._wanted = wanted
        self._start = time.monotonic()
        self._longest = 0.0  # that a generation took
        self._again: Chosen = []  # what noise made useless
        self.progress = Progress()

    def begin(self, model: Any, folder: Path, known: Sequence[Record], proposer: Callable[[Target], Proposer]) -> None:
        """Makes the excerpt, measures the defaults, and makes the tasks."""
        self._say("reading the model")
        collector = Collector(self._choose_default)
        made = excerpt(model, self._options, collector)
        self._target = made.target
        self._say("compiling the defaults")
        self._library = TrialLibrary(
            made, self._choose_default, self._options, folder, workers=self._workers, seed=self._seed
        )
        asked = {key: collector.asked[key] for key in made.workloads if key in collector.asked}
        keys = [key for key, (_, workload) in asked.items() if self._wanted(workload)]
        seconds = self._library.default_seconds(keys, self._limits.measure_seconds) if keys else {}
        self._say("counting choices")
        least = _SHARE * sum(seconds.values()) if self._limits.stops_early else 0.0
        for key in sorted(seconds, key=lambda each: -seconds[each]):
            if seconds[key] >= least:
                # Which choices of a large space are looked at is the same in every run: records know some of them.
                random_ = random.Random(key)
                task = make_task(*asked[key], made.target, random_, self._choose_default)
                task.seconds = seconds[key]
                self.progress.tasks.append(task)
        self._search = proposer(made.target)
        self._recall(known)

    def generations(self) -> Iterator[list[Record]]:
        """The records of each generation, when it has been measured."""
        while chosen := self._chosen():
            yield self._generation(chosen, self._limits.measure_seconds, "measuring")
        # The fastest of many noisy measurements was lucky too: winners have to win again, or the next best does.
        for _ in range(_CONFIRMATIONS if self._limits.stops_early else 0):
            again = [(task, candidate) for task in self.progress.tasks for candidate in _leaders(task)]
            if not again:
                break
            yield self._generation(again, _CONFIRM_SECONDS, "confirming")
            for _task, candidate in again:
                candidate.is_confirmed = True
        self._say("done")

    def _generation(self, chosen: Chosen, seconds: float, stage: str) -> list[Record]:
        self.progress.generation += 1
        self._say(stage)
        begin = time.monotonic()
        results = self._library.measure([candidate.decision for _, candidate in chosen], seconds)
        self._longest = max(self._longest, time.monotonic() - begin)
        records = self._learned(chosen, results)
        progress = self.progress
        progress.seconds = time.monotonic() - self._start
        progress.history.append(Moment(progress.seconds, progress.trials, progress.best_seconds))
        self._say(stage)
        return records

    def _chosen(self) -> Chosen:
        """The candidates of the next generation; none when a limit is reached, or nothing is left to win."""
        limits, progress = self._limits, self.progress
        passed = time.monotonic() - self._start
        after = _CONFIRMATIONS / 2 if limits.stops_early else 0  # the rest is for confirmations
        if limits.seconds is not None and passed + self._longest * (1 + after) >= limits.seconds:
            return []
        slots = _SLOTS if limits.trials is None else min(_SLOTS, limits.trials - progress.trials)
        tasks = [task for task in progress.tasks if self._room(task) > 0]
        again = self._again
        most = max(_LEAST_EACH, min(_MOST_EACH, slots // max(1, len(tasks))))
        chosen = list(again)
        while tasks and slots > len(chosen):
            counts = shared_out(tasks, slots - len(chosen), most)
            for place, count in counts.items():
                proposed = self._search.proposals(tasks[place], min(count, self._room(tasks[place])))
                chosen += [(tasks[place], each) for each in proposed if all(each is not other for _, other in again)]
            if chosen:
                break
            tasks = [task for place, task in enumerate(tasks) if place not in counts]  # those had nothing to propose
        self._again = []
        return chosen

    def _room(self, task: Task) -> int:
        """Measurements that a task may still get."""
        is_done = task.is_done if self._limits.stops_early else task.is_exhausted
        most = self._limits.trials_of_each
        if is_done or most is None:
            return 0 if is_done else _MOST_EACH
        return most - task.tried - sum(other is task for other, _ in self._again)

    def _learned(self, chosen: Chosen, results: Sequence[Result | None]) -> list[Record]:
        """Takes in what was measured of a generation."""
        measured: list[tuple[Task, Candidate, float]] = []
        records: list[Record] = []
        for (task, candidate), result in zip(chosen, results, strict=True):
            if result is None:
                continue  # it did not come to its turn: another generation will take it
            state, ratio, seconds = result.state, float("inf"), 0.0
            if result.timing is not None and state in (OK, NOISY):
                candidate.attempts += state == NOISY
                if state == NOISY and candidate.attempts < _MOST_ATTEMPTS:
                    self._again.append((task, candidate))
                    continue
                # What noise hides is taken to be slow.
                ratio = result.timing.ratio + (2 * result.timing.uncertainty if state == NOISY else 0)
                state, seconds = OK, result.timing.seconds
            else:
                self.progress.failed[state] = self.progress.failed.get(state, 0) + 1
            self.progress.measured += candidate.ratio is None
            measured.append((task, candidate, ratio))
            records.append(self._record(task.key, candidate.decision, state, ratio, seconds))
        self._search.learn(measured)
        return records

    def _record(self, key: str, decision: Decision[Any, Any], state: str, ratio: float, seconds: float) -> Record:
        return Record(
            workload=key,
            template=decision.template.name,
            choice=str(decision.choice),
            seconds=seconds,
            ratio=ratio if state == OK else 0.0,
            target=fingerprint(self._target),
            threads=self._target.cores,
            state=state,
            software=version(),
        )

    def _recall(self, known: Sequence[Record]) -> None:
        """What earlier runs measured on such a machine."""
        here = [
            each for each in known if (each.target, each.threads) == (fingerprint(self._target), self._target.cores)
        ]
        by_choice: dict[tuple[str, str], Record] = {}
        for each in here:
            place = (each.workload, each.choice)
            if place not in by_choice or each.slowness > by_choice[place].slowness:
                by_choice[place] = each
        measured = []
        for task in self.progress.tasks:
            for candidate in task.candidates:
                record = by_choice.get((task.key, str(candidate.decision.choice)))
                if record is not None:
                    measured.append((task, candidate, record.ratio if record.state == OK else float("inf")))
        self._search.learn(measured)
        for task in self.progress.tasks:
            task.since = 0

    def _say(self, stage: str) -> None:
        self.progress.stage = stage
        self.progress.seconds = time.monotonic() - self._start
        self._tell(self.progress)


def _leaders(task: Task) -> list[Candidate]:
    """What is to be measured again: the fastest of a task, and others that are nearly as fast."""
    if task.best is None:
        return []
    close = [each for each in task.candidates if each.ratio is not None and each.ratio < task.best_ratio * _CLOSE]
    close.sort(key=lambda each: each.ratio or 0.0)
    return [each for each in close[:_MOST_CLOSE] if not each.is_confirmed and (each.ratio or 1.0) < 1]

"""One run of the tuner: generations of candidates, each a library of the model's distinct kernels.

A generation takes one candidate of every task that is worth it, so that what building and starting costs is shared by
them all. What it found is written to the records before the next begins.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...annotations import WORKLOAD
from ...schedules.templates.template import Decision
from ...schedules.tuner.cost_model import CostModel
from ...schedules.tuner.records import CRASHED, HUNG, OK, WRONG, Record, Writer, fingerprint
from ...schedules.tuner.search import Candidate, Collector, Search, Task, choosing, make_task
from ..build import Build, build, version
from ..inputs.random_inputs import random_inputs
from ..options import CompileOptions
from ..precision import RTOL_OF_PRECISION
from ..process.temporary import temporary_folder
from .excerpt import Excerpt, excerpt, kernel_passes
from .measure import Measured, measure

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...targets import Target
    from ..process.workers import Workers

_SHARE = 0.003  # of the time of all kernels, below which a task is left alone
_MEASURE_SECONDS, _CONFIRM_SECONDS = 0.5, 1.5
_CONFIRMATIONS = 3
_INPUT_BOUND = 1  # of integers: indices into whatever they index


@dataclass
class Progress:
    """How far a run is.

    Attributes:
        tasks: all of them, those of the most time first; with what is known of each.
        generation: how many were measured.
        seconds: that have passed.
        stage: what it does now.
    """

    tasks: list[Task] = field(default_factory=list)
    generation: int = 0
    seconds: float = 0.0
    stage: str = ""

    @property
    def trials(self) -> int:
        """Candidates measured."""
        return sum(task.tried for task in self.tasks)

    @property
    def default_seconds(self) -> float:
        """Of one run of all kernels, as they are without tuning."""
        return sum(task.seconds for task in self.tasks)

    @property
    def best_seconds(self) -> float:
        """The same with the best that is known."""
        return sum(task.seconds * _best_ratio(task) for task in self.tasks)


def _best_ratio(task: Task) -> float:
    found = task.best
    return found.ratio if found is not None and found.ratio is not None else 1.0


@dataclass(frozen=True)
class Limits:
    """How much a run may do: seconds, candidates, candidates of one workload; None: no limit."""

    seconds: float | None = None
    trials: int | None = None
    trials_of_each: int | None = None


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
) -> Progress:
    """Searches until nothing more is to be won, or a limit is reached.

    Args:
        options: how the model will be compiled; the threads are those that its choices are for.
        records: the file that results are appended to.
        known: records of earlier runs: what they measured is not measured again.
        tell: called whenever there is news.

    Raises:
        TilewrightError: of compiling the model, or of a file that cannot be written.
    """
    run = _Run(options, limits, workers, seed, tell)
    writer = Writer(records)
    try:
        with temporary_folder() as folder:
            run.begin(model, folder, known)
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
    ) -> None:
        self._options = options
        self._limits = limits
        self._workers = workers
        self._seed = seed
        self._tell = tell
        self._start = time.monotonic()
        self._longest = 0.0  # that a generation took
        self.progress = Progress()

    def begin(self, model: Any, folder: Path, known: Sequence[Record]) -> None:
        """Makes the excerpt, the tasks and the library of the defaults, and measures that."""
        self._folder = folder
        self._say("reading the model")
        collector = Collector()
        self._excerpt = excerpt(model, self._options, collector)
        self._say("compiling the defaults")
        self._defaults = self._compiled({}, folder / "defaults.so")
        target = self._defaults.target
        random_ = random.Random(self._seed)
        wanted = set(self._excerpt.workloads.values())
        tasks = {key: make_task(*asked, target, random_) for key, asked in collector.asked.items() if key in wanted}
        self._write_inputs()
        first = self._measured(self._defaults, self._defaults, _MEASURE_SECONDS)
        seconds = self._seconds(first.defaults, self._defaults)
        for key, task in tasks.items():
            task.seconds = float(seconds.get(key, 0.0))
        self.progress.tasks = sorted(tasks.values(), key=lambda task: -task.seconds)
        self._search = Search(CostModel(), self._seed)
        self._recall(known, target)

    def generations(self) -> Iterator[list[Record]]:
        """The records of each generation, when it has been measured."""
        while chosen := self._chosen():
            yield self._generation(chosen, _MEASURE_SECONDS)
            self._say("learning")
        # The fastest of many noisy measurements was lucky too: winners have to win again, or the next best does.
        for _ in range(_CONFIRMATIONS):
            again = [(task, task.best) for task in self.progress.tasks if task.best and not task.best.is_confirmed]
            if not again:
                break
            yield self._generation(again, _CONFIRM_SECONDS)
            for _task, candidate in again:
                candidate.is_confirmed = True
            self._say("confirming")

    def _generation(self, chosen: list[tuple[Task, Candidate]], seconds: float) -> list[Record]:
        self.progress.generation += 1
        self._say("compiling candidates")
        begin = time.monotonic()
        path = self._folder / f"candidates{self.progress.generation}.so"
        made = self._compiled({task.key: candidate.decision for task, candidate in chosen}, path)
        self._say("measuring")
        found = self._measured(self._defaults, made, seconds)
        path.unlink(missing_ok=True)
        self._longest = max(self._longest, time.monotonic() - begin)
        return self._learned(chosen, made, found)

    def _chosen(self) -> list[tuple[Task, Candidate]]:
        """The candidates of the next generation; none when a limit is reached, or nothing is left to win."""
        limits, progress = self._limits, self.progress
        passed = time.monotonic() - self._start
        if limits.seconds is not None and passed + self._longest * (1 + _CONFIRMATIONS / 2) >= limits.seconds:
            return []  # the rest is for confirmations
        left = None if limits.trials is None else limits.trials - progress.trials
        total = progress.default_seconds
        chosen: list[tuple[Task, Candidate]] = []
        for task in progress.tasks:
            if left is not None and len(chosen) >= left:
                break
            worth = task.seconds >= _SHARE * total and not task.is_done
            if worth and (limits.trials_of_each is None or task.tried < limits.trials_of_each):
                candidate = next(self._search.proposals(task), None)
                if candidate is not None:
                    chosen.append((task, candidate))
        return chosen

    def _compiled(self, decisions: Mapping[str, Decision[Any, Any]], path: Path) -> Build:
        return build(
            self._excerpt.model,
            path,
            self._options,
            passes=kernel_passes,
            choose=choosing(dict(decisions)),
            workers=self._workers,
        )

    def _write_inputs(self) -> None:
        signature = self._defaults.signature
        assert signature is not None
        bounds = {spec.name: _INPUT_BOUND for spec in signature.inputs}
        np.savez(self._folder / "inputs.npz", **random_inputs(signature.inputs, self._seed, bounds))  # type: ignore[arg-type]  # numpy takes names

    def _measured(self, defaults: Build, candidates: Build, seconds: float) -> Measured:
        assert defaults.path is not None and candidates.path is not None
        return measure(
            defaults.path,
            candidates.path,
            self._folder / "inputs.npz",
            self._folder,
            threads=self._options.threads or 0,
            seconds=seconds,
            rtol=RTOL_OF_PRECISION[defaults.precision],
        )

    def _learned(self, chosen: list[tuple[Task, Candidate]], made: Build, found: Measured) -> list[Record]:
        """Takes in what was measured of a generation."""
        workload_of_step = _workloads(made)
        dead = workload_of_step[found.dead_step] if found.dead_step is not None else None
        wrong = {self._excerpt.workloads[name] for name in found.wrong}
        ratios, seconds = self._ratios(found, made) if dead is None else ({}, {})
        measured: list[tuple[Task, Candidate, float]] = []
        records: list[Record] = []
        for task, candidate in chosen:
            state = OK
            if dead is not None:
                if task.key != dead:
                    continue  # it did not come to its turn: another generation will take it
                state = HUNG if found.hung else CRASHED
            elif task.key in wrong:
                state = WRONG
            elif task.key not in ratios:
                continue
            ratio = ratios[task.key] if state == OK else float("inf")
            measured.append((task, candidate, ratio))
            records.append(self._record(task.key, candidate.decision, state, ratio, seconds.get(task.key, 0.0)))
        self._search.learn(measured)
        return records

    def _record(self, key: str, decision: Decision[Any, Any], state: str, ratio: float, seconds: float) -> Record:
        target = self._defaults.target
        return Record(
            workload=key,
            template=decision.template.name,
            choice=str(decision.choice),
            seconds=seconds if state == OK else 0.0,
            ratio=ratio if state == OK else 0.0,
            target=fingerprint(target),
            threads=target.cores,
            state=state,
            software=version(),
        )

    def _ratios(self, found: Measured, made: Build) -> tuple[dict[str, float], dict[str, float]]:
        """For each workload the ratio to its default, and the seconds in one run of the model."""
        defaults, candidates = (
            self._by_workload(found.defaults, self._defaults),
            self._by_workload(found.candidates, made),
        )
        ratios = {
            key: float(np.median(candidates[key] / np.maximum(defaults[key], 1)))
            for key in candidates
            if key in defaults
        }
        return ratios, {key: float(np.median(times)) / 1e9 for key, times in candidates.items()}

    def _seconds(self, rounds: Any, made: Build) -> dict[str, float]:
        return {key: float(np.median(times)) / 1e9 for key, times in self._by_workload(rounds, made).items()}

    def _by_workload(self, rounds: Any, made: Build) -> dict[str, Any]:
        """Nanoseconds of each round by workload, kernels as often as the model calls them."""
        signature = made.signature
        assert signature is not None
        found: dict[str, Any] = {}
        workloads = _workloads(made)
        calls = _calls(made, self._excerpt)
        for number, key in enumerate(workloads):
            if key is not None:
                found[key] = found.get(key, 0.0) + rounds[:, number] * calls[number]
        return found

    def _recall(self, known: Sequence[Record], target: Target) -> None:
        """What earlier runs measured on such a machine."""
        here = [each for each in known if (each.target, each.threads) == (fingerprint(target), target.cores)]
        by_choice = {(each.workload, each.choice): each for each in here}
        measured = []
        for task in self.progress.tasks:
            for candidate in task.candidates:
                record = by_choice.get((task.key, str(candidate.decision.choice)))
                if record is not None:
                    measured.append((task, candidate, record.ratio if record.state == OK else float("inf")))
        self._search.learn(measured)

    def _say(self, stage: str) -> None:
        self.progress.stage = stage
        self.progress.seconds = time.monotonic() - self._start
        self._tell(self.progress)


def _workloads(made: Build) -> list[str | None]:
    """The workload of each step's kernel."""
    table, signature = made.table, made.signature
    assert table is not None and signature is not None
    keys = [WORKLOAD.of(function) for _, function in table.functions]
    return [keys[step.kernel] if step.kernel >= 0 else None for step in signature.steps]


def _calls(made: Build, of: Excerpt) -> list[int]:
    """How often the model calls each step's kernel: as the outputs of the excerpt say, by the step's own names."""
    signature = made.signature
    assert signature is not None
    return [max((of.calls.get(name, 0) for name in step.sources), default=0) or 1 for step in signature.steps]

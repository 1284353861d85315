"""`optimize`, top to bottom: database of treatments -> exact solve -> search near its front -> front -> recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, DeviceLostError, ToolError, UsageError
from ...targets import parse
from ..build import target_of
from ..calibration.samples import Array
from ..evaluation.metrics import Metric, relative_error
from ..recipes.files import write_recipe
from ..recipes.identity import identity_of
from ..recipes.recipe import ModelIdentity, Recipe
from .attempt import Outcome, Study, attempt
from .bases import base_of, bases_of
from .budget import Budget
from .candidate import Candidate, Parts, candidate_of
from .crew import Crew, local_crew
from .data import Data
from .database import Database, Measured, key_of
from .front import Point, pareto_front
from .genetic import next_generation
from .request import SOLVED, UNIFORM, Optimized, Request
from .solve import Predicted, Table
from .survey import parts_of, survey
from .treatments import FLOAT, TREATMENTS
from .workbench import here, workbench_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..process.progress import ProgressCallback

_SURVEY_SHARE = 0.6  # of the time, that the database may take
_MOST_SOLVED = 24  # of the exact solver's candidates that are really tried
MOST_THERE = 24  # samples that are run on a device, each by a program of its own
_STILL = 3  # generations without a new point of the front, after which the search ends
_TIMING_SECONDS = 0.4
_GOES_ON = "nothing is lost: the same command goes on"
_EXACT, _GENERATION = "float", "generation"


def optimize(
    opened: OpenedModel, data: Data, asked: Request, output: Path, folder: Path, tell: ProgressCallback
) -> Optimized:
    """Searches, and keeps the best recipe within the budget at `output` from the first one on.

    Args:
        opened: the model.
        output: the recipe.
        folder: of the database: what it knows is not measured again.

    Raises:
        DataError: the folder holds another search.
        ModelError, ShapeError, UnsupportedError, CalibrationError: as a compile, and of the samples.
        OutputError: a file cannot be written.
        UsageError: the model has no layers, there is no such device, or libraries for the target do not run here.
        ToolError: the float model itself cannot be compiled or run.
    """
    target = target_of(asked.options)
    if asked.device is None and target.arch != parse("host").arch:
        raise UsageError(
            f"libraries for {target.triple} do not run on this machine",
            where="--target",
            hint="name a device that runs them: --device ssh:USER@HOST, rpc:HOST:PORT/KEY, qemu",
        )
    with closing(Database(folder, identity_of(opened).sha256, _key(data, asked))) as database:
        search = _Search(opened, data, asked, database, output, tell)
        if not search.parts.layers:
            raise UsageError("the model has no product or convolution with constant float weights", where=opened.where)
        search.survey()
        search.run()
        search.save_best()
        return search.found()


def known(opened: OpenedModel, budget: Budget | None, metric: Metric, folder: Path) -> tuple[Optimized, Parts]:
    """What an earlier search found, and the parts of its recipes; nothing is measured.

    Raises:
        DataError: there is none, or none that measured anything.
    """
    database = Database(folder, identity_of(opened).sha256, None)
    asked = Request(budget or Budget(), metric)
    search = _Search(opened, None, asked, database, folder, lambda stage, done, total: None)
    search.load()
    return search.found(), search.parts


def _key(data: Data, asked: Request) -> str:
    options = replace(asked.options, jobs=None)
    return key_of(data.digest, asked.metric.name, repr(options), asked.device)


class _Search:
    def __init__(
        self,
        opened: OpenedModel,
        data: Data | None,
        asked: Request,
        database: Database,
        output: Path,
        tell: ProgressCallback,
    ) -> None:
        from ...frontends.linear_layers import linear_layers

        self._opened, self._data, self._asked = opened, data, asked
        self._database, self._output, self._tell = database, output, tell
        self._reference: dict[str, Array] | None = None
        self._written = ""
        self._seen: dict[str, None] = {}  # candidates of this run, in order
        self.parts = Parts(opened, {layer.name: layer for layer in linear_layers(opened)})

    def load(self) -> None:
        """Reads what treatments are."""
        self.parts.recipes.update(parts_of(self._database))
        for base, _ in self._database.surveyed:
            recipe = self._database.recipe(base)
            if recipe is not None:
                self.parts.bases[base] = recipe

    def survey(self) -> None:
        """Fills in the database as far as the time goes."""
        assert self._data is not None
        treatments = [each for each in TREATMENTS if each.kind in self._asked.kinds]
        goes_on = partial(self._time_left, _SURVEY_SHARE)
        options, device = self._asked.options, self._asked.device
        for name in bases_of(self._asked.kinds):
            wanted = [FLOAT, *treatments]
            if all((name, each.name) in self._database.surveyed for each in wanted) or not goes_on():
                continue
            recipe = base_of(name, self._opened, self._data.fitted, options, device, self._database, self._tell)
            if recipe is None:
                continue
            with workbench_of(self._opened, recipe, self._data.fitted, options, device, self._tell) as bench:
                survey(bench, name, treatments, self._database, goes_on)
        self.load()

    def run(self) -> None:
        """Measures the exact solver's candidates, then generations of the search, as long as there is time.

        What is in the database takes no time, and the order is the same: after a kill the search goes on as if it had
        not been stopped.
        """
        make = self._asked.crew or partial(local_crew, count=self._asked.jobs)
        with make(self._study()) as crew:
            self._measure(crew, [Candidate()], _EXACT)
            if self._failed(Candidate()):
                raise ToolError(
                    "the float model cannot be run", where=self._opened.where, details=[self._failed(Candidate())]
                )
            table = self._table()
            self._measure(crew, [each.candidate for each in _spread(table.solved(), _MOST_SOLVED)], SOLVED)
            self._measure(crew, table.uniform(), UNIFORM)
            still, number = 0, 1
            while still < _STILL and self._time_left():
                points = self._points(self._seen)
                reach = self._asked.budget.reach(points, points[0])
                children = next_generation(table, points, self._seen, reach, self._asked.seed, number)
                if not children:
                    break
                self._measure(crew, children, f"{_GENERATION} {number}")
                news = set(pareto_front(self._points(self._seen))) - set(pareto_front(points))
                still = 0 if any(point.error <= reach for point in news) else still + 1
                number += 1

    def found(self) -> Optimized:
        """All that is known by now."""
        points = self._points(self._database.measured)
        exact = next(point for point in points if point.candidate.is_exact)
        best = self._asked.budget.best(points, exact)
        measured = self._database.measured
        return Optimized(
            self._opened.name,
            exact,
            tuple(pareto_front(points)),
            tuple(points),
            {key: line.origin for key, line in measured.items()},
            tuple(self._table().solved()),
            best,
            self._asked.budget.excess(best, exact),
            len(self._database.rows),
            {key: line.failed for key, line in measured.items() if line.failed},
            self._database.spent,
            self._asked.metric,
        )

    def _study(self) -> Study:
        assert self._data is not None
        given, options = self._opened.serialized(), self._asked.options
        key = key_of(given, repr(options), self._data.digest)
        held = self._data.held if self._asked.device is None else self._data.held[:MOST_THERE]
        return Study(key, given, replace(options, jobs=1), held, _TIMING_SECONDS, self._asked.device)

    def _table(self) -> Table:
        return Table(self._database, list(self.parts.layers))

    def _time_left(self, share: float = 1.0) -> bool:
        limit = self._asked.seconds
        return limit is None or self._database.spent < share * limit

    def _failed(self, candidate: Candidate) -> str:
        return self._database.measured[candidate.key].failed

    def _measure(self, crew: Crew, candidates: Sequence[Candidate], origin: str) -> None:
        """Tries candidates, those that nobody tried yet, so many at a time as there are processes for."""
        missing = [each for each in candidates if each.key not in self._database.measured]
        self._seen.update(dict.fromkeys(each.key for each in candidates if each not in missing))
        for start in range(0, len(missing), crew.width):
            if not self._time_left() and not missing[0].is_exact:
                return
            self._tell(origin, start, len(missing))
            some = missing[start : start + crew.width]
            recipes = [None if each.is_exact else self._blank(each) for each in some]
            for place, outcome in crew.outcomes(recipes):
                if outcome.lost:
                    raise DeviceLostError(outcome.failed, where=str(self._asked.device), hint=_GOES_ON)
                self._database.add([self._judged(some[place], outcome, origin)])
                self.save_best()
            self._seen.update(dict.fromkeys(each.key for each in some))

    def _blank(self, candidate: Candidate) -> Recipe:
        """A recipe for a model that was serialized, whose checksum is another."""
        return replace(self.parts.recipe(candidate), model=ModelIdentity())

    def _judged(self, candidate: Candidate, outcome: Outcome, origin: str) -> Measured:
        if outcome.failed:
            return Measured(candidate.key, failed=outcome.failed, origin=origin)
        assert self._data is not None
        if candidate.is_exact:
            self._reference = outcome.outputs
        reference = self._exact_outputs()
        return Measured(
            candidate.key,
            self._asked.metric(outcome.outputs, self._labels(), reference),
            relative_error(outcome.outputs, reference),
            outcome.ratio,
            outcome.seconds,
            outcome.bytes,
            origin=origin,
        )

    def _labels(self) -> Array | None:
        """Those of the samples that candidates ran on."""
        labels = self._data.labels if self._data is not None else None
        return labels if labels is None or self._asked.device is None else labels[:MOST_THERE]

    def _exact_outputs(self) -> dict[str, Array]:
        """What the float model makes of the samples that are held out."""
        if self._reference is None:
            study = self._study()
            options = here(study.options, study.device)
            made = attempt(replace(study, key=f"{study.key} here", options=options, device=None), None)
            if made.failed:
                raise ToolError("the float model cannot be run", where=self._opened.where, details=[made.failed])
            self._reference = made.outputs
        return self._reference

    def _points(self, keys: Iterable[str]) -> list[Point]:
        """Those of candidates that have a library."""
        measured = self._database.measured
        exact = measured.get(Candidate().key)
        if exact is None:
            raise DataError("the search has measured nothing yet", where=str(self._database.folder))
        return [
            Point(candidate_of(key), line.quality, line.error, line.ratio * exact.seconds, line.bytes)
            for key in keys
            if not (line := measured[key]).failed
        ]

    def save_best(self) -> None:
        """Writes the recipe of the best point so far, if it is another by now."""
        points = self._points(self._database.measured)
        exact = next(point for point in points if point.candidate.is_exact)
        best = self._asked.budget.best(points, exact).candidate
        if best.key != self._written:
            write_recipe(self.parts.recipe(best), self._output)
            self._written = best.key


def _spread(items: Sequence[Predicted], most: int) -> list[Predicted]:
    """At most so many of them, evenly."""
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]

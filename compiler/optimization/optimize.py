"""`optimize`, top to bottom: database of treatments -> exact solve -> search near its front -> front -> recipe."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ToolError, UsageError
from ...targets import parse
from ..build import target_of
from ..calibration.tapped import Workshop, workshop_of
from ..compression.pruning import Rankings
from ..evaluation.metrics import Metric
from ..process.checksum import key_of
from ..recipes.identity import identity_of
from .bases import base_of
from .budget import Budget
from .candidate import Candidate, Parts
from .clock import Clock, TimeIsUpError
from .crew import Crew, local_crew
from .data import Data
from .database import Database
from .front import pareto_front
from .genetic import next_generation
from .plan import steps_of
from .request import SOLVED, UNIFORM, Optimized, Request
from .solve import Predicted, Table
from .survey import parts_of, survey
from .trials import Trials, points_of
from .workbench import Workbench, here, workbench_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..process.progress import ProgressCallback

# Of the time: until when steps of the database are begun, and when they are ended; again, where the search ends early.
_ROUNDS = ((0.5, 0.75), (0.8, 0.9))
_MOST_SOLVED = 24  # of the exact solver's candidates that are really tried
_FIRST_SOLVED = 8  # of them come before those with the same treatment for all layers
_STILL = 3  # generations without a new point of the front, after which the search ends
_EXACT, _GENERATION = "float", "generation"


def optimize(
    opened: OpenedModel,
    data: Data,
    asked: Request,
    output: Path | None,
    folder: Path,
    tell: ProgressCallback,
    since: float | None = None,
) -> Optimized:
    """Searches, and keeps the best recipe within the budget at `output` from the first one on.

    Args:
        opened: the model.
        output: the recipe; None: none is written.
        folder: of the database: what it knows is not measured again.
        since: when the work began, by `time.monotonic`, from where on time counts; None: now.

    Raises:
        DataError: the folder holds another search.
        ModelError, ShapeError, UnsupportedError, CalibrationError: as a compile, and of the samples.
        OutputError: a file cannot be written.
        UsageError: the model has no layers, there is no such device, libraries for the target do not run here, or the
            time is over before the float model was measured.
        ToolError: the float model itself cannot be compiled or run.
    """
    target = target_of(asked.options)
    if asked.device is None and target.arch != parse("host").arch:
        raise UsageError(
            f"libraries for {target.triple} do not run on this machine",
            where="--target",
            hint="name a device that runs them: --device ssh:USER@HOST, rpc:HOST:PORT/KEY, qemu",
        )
    parts = _parts_of(opened)
    if not parts.layers:
        raise UsageError("the model has no product or convolution with constant float weights", where=opened.where)
    with closing(Database(folder, identity_of(opened).sha256, _key(data, asked), since)) as database:
        clock = Clock(lambda: database.spent, asked.seconds)
        trials = Trials(parts, data, asked, database, output, clock, tell)
        search = _Search(parts, data, asked, database, trials, clock, tell)
        try:
            search.run()
        except TimeIsUpError:
            if Candidate().key not in database.measured:
                raise UsageError(
                    "the time is over before the float model was compiled and run",
                    where=f"--seconds {asked.seconds:g}",
                    hint="give more: the same command goes on with what is known",
                ) from None
        trials.save_best()
        return _found(parts, database, asked, search.predicted())


def known(opened: OpenedModel, budget: Budget | None, metric: Metric, folder: Path) -> Optimized:
    """What an earlier search found; nothing is measured.

    Raises:
        DataError: there is none, or none that measured anything.
    """
    database, parts = Database(folder, identity_of(opened).sha256, None), _parts_of(opened)
    return _found(parts, database, Request(budget or Budget(), metric), _loaded(parts, database).solved())


def _parts_of(opened: OpenedModel) -> Parts:
    from ...frontends.linear_layers import linear_layers

    return Parts(opened, {layer.name: layer for layer in linear_layers(opened)})


def _loaded(parts: Parts, database: Database) -> Table:
    """The database as choices, and what treatments are."""
    parts.recipes.update(parts_of(database))
    for base, _ in database.surveyed:
        recipe = database.recipe(base)
        if recipe is not None:
            parts.bases[base] = recipe
    return Table(database, list(parts.layers))


def _key(data: Data, asked: Request) -> str:
    options = replace(asked.options, jobs=None)
    return key_of(data.digest, asked.metric.name, repr(options), asked.device)


def _found(parts: Parts, database: Database, asked: Request, predicted: Sequence[Predicted]) -> Optimized:
    """All that is known by now."""
    points = points_of(database, database.measured)
    exact = next(point for point in points if point.candidate.is_exact)
    best, measured = asked.budget.best(points, exact), database.measured
    return Optimized(
        parts.opened.name,
        exact,
        tuple(pareto_front(points)),
        tuple(points),
        {key: line.origin for key, line in measured.items()},
        tuple(predicted),
        best,
        asked.budget.excess(best, exact),
        len(database.rows),
        {key: line.failed for key, line in measured.items() if line.failed},
        database.spent,
        asked.metric,
        parts,
    )


class _Search:
    def __init__(
        self,
        parts: Parts,
        data: Data,
        asked: Request,
        database: Database,
        trials: Trials,
        clock: Clock,
        tell: ProgressCallback,
    ) -> None:
        self._parts, self._data, self._asked, self._database = parts, data, asked, database
        self._trials, self._clock, self._tell = trials, clock, tell
        self._generation = 0
        self._rankings: Rankings = {}
        self._solved: tuple[int, Table, list[Predicted]] | None = None

    def run(self) -> None:
        """Builds the database, and searches, as long as there is time and anything is to be won.

        What is in the database takes no time, and the order is the same: after a kill the search goes on as if it had
        not been stopped.

        Raises:
            TimeIsUpError: the time is over.
        """
        make = self._asked.crew or partial(local_crew, count=self._asked.jobs)
        with make(self._trials.study) as crew:
            self._trials.measure(crew, [Candidate()], _EXACT)
            failed = self._database.measured[Candidate().key].failed
            if failed:
                raise ToolError("the float model cannot be run", where=self._parts.opened.where, details=[failed])
            for begun, ended in _ROUNDS:
                is_whole = self._surveyed(begun, ended)
                self._searched(crew)
                if is_whole:
                    return

    def _surveyed(self, begun: float, ended: float) -> bool:
        """Fills in the database; whether all of it is there.

        Args:
            begun, ended: shares of the time: until when steps are begun, and when they are ended.
        """
        there = self._database.surveyed
        steps = [
            step
            for step in steps_of(self._asked.kinds)
            if not all((step.base, treatment.name) in there for treatment in step.treatments)
        ]
        benches: dict[str, Workbench | None] = {}
        options = here(self._asked.options, self._asked.device)
        with workshop_of(options, self._clock.ending(self._tell, ended)) as shop:
            for step in steps:
                if self._clock.left(begun) <= 0:
                    return False
                try:
                    if step.base not in benches:
                        benches[step.base] = self._bench(step.base, shop)
                    bench = benches[step.base]
                    if bench is not None:
                        survey(bench, step.base, step.treatments, self._database)
                except TimeIsUpError:
                    return False
        return True

    def _bench(self, base: str, shop: Workshop) -> Workbench | None:
        """What measures a base; None where there is none."""

        def tell(stage: str, done: int, total: int) -> None:
            shop.tell(f"{base}: {stage}", done, total)

        own = replace(shop, tell=tell)
        options, device, fitted = self._asked.options, self._asked.device, self._data.fitted
        recipe = base_of(base, self._parts.opened, fitted, options, device, self._database, own, tell, self._rankings)
        if recipe is None:
            return None

        def state(way: str) -> Path:
            return self._database.place(f"{base} {way}", ".calibration.npz")

        return workbench_of(self._parts.opened, recipe, fitted, options, device, own, state)

    def _searched(self, crew: Crew) -> None:
        """Measures the exact solver's candidates, and those that are uniform, then generations near the front."""
        trials, budget = self._trials, self._asked.budget
        table, front = self._exactly_solved()
        solved = _coarse_first(front, _MOST_SOLVED)
        self._tried(crew, solved[:_FIRST_SOLVED], SOLVED)
        self._tried(crew, table.uniform(), UNIFORM)
        self._tried(crew, solved[_FIRST_SOLVED:], SOLVED)
        still = 0
        while still < _STILL:
            points = trials.points()
            reach = budget.reach(points, points[0])
            self._generation += 1
            children = next_generation(table, points, trials.seen, reach, self._asked.seed, self._generation)
            if not children:
                return
            trials.measure(crew, children, f"{_GENERATION} {self._generation}")
            news = set(pareto_front(trials.points())) - set(pareto_front(points))
            still = 0 if any(point.error <= reach for point in news) else still + 1

    def predicted(self) -> list[Predicted]:
        """The exact solver's front of what is in the database."""
        return self._exactly_solved()[1]

    def _exactly_solved(self) -> tuple[Table, list[Predicted]]:
        """The database as choices, and their front; solved again where there are more rows by now."""
        rows = len(self._database.rows)
        if self._solved is None or self._solved[0] != rows:
            table = _loaded(self._parts, self._database)
            self._solved = rows, table, table.solved()
        return self._solved[1:]

    def _tried(self, crew: Crew, candidates: Sequence[Predicted], origin: str) -> None:
        """Measures candidates, but for those that should lose more than one that lost too much already."""
        errors = {each.candidate.key: each.error for each in candidates}

        def wanted(candidate: Candidate) -> bool:
            points = self._trials.points()
            return errors[candidate.key] <= self._asked.budget.hopeless(points, points[0]) ** 2

        self._trials.measure(crew, [each.candidate for each in candidates], origin, wanted)


def _coarse_first(items: Sequence[Predicted], most: int) -> list[Predicted]:
    """At most so many of them, evenly: the ends, then what halves what is left; so the first of them are even, too."""
    count = min(len(items), most)
    chosen = [items[round(place * (len(items) - 1) / max(1, count - 1))] for place in range(count)]
    # The largest power of two that divides a place says how coarse a grid it is on.
    order = sorted(range(count), key=lambda place: -(place & -place or count))
    return [chosen[place] for place in dict.fromkeys([*order[:1], count - 1, *order])] if chosen else []

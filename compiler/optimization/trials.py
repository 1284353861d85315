"""Candidates that are really tried: what came of each stands in the database, and the best recipe is always written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import DataError, DeviceLostError, ToolError
from ..calibration.samples import Array
from ..evaluation.metrics import relative_error
from ..process.checksum import key_of
from ..recipes.files import write_recipe
from ..recipes.recipe import ModelIdentity, Recipe
from .attempt import Outcome, Study
from .candidate import Candidate, Parts, candidate_of
from .clock import Clock
from .crew import Crew
from .data import Data
from .database import Database, Measured
from .front import Point
from .request import Request

if TYPE_CHECKING:
    from ..process.progress import ProgressCallback

MOST_THERE = 24  # samples that are run on a device, each by a program of its own
_TIMING_SECONDS = 0.4
_GOES_ON = "nothing is lost: the same command goes on"


class Trials:
    """Tries candidates.

    Attributes:
        seen: keys of the candidates of this run, in order: those that were tried, and those that are known.
    """

    def __init__(
        self,
        parts: Parts,
        data: Data,
        asked: Request,
        database: Database,
        output: Path | None,
        clock: Clock,
        tell: ProgressCallback,
    ) -> None:
        """Gets ready.

        Args:
            output: for the recipe of the best one.
        """
        self._parts, self._data, self._asked = parts, data, asked
        self._database, self._output, self._clock, self._tell = database, output, clock, tell
        self._reference: dict[str, Array] | None = None
        self._written = ""
        self.seen: dict[str, None] = {}

    @property
    def study(self) -> Study:
        """What they are tried on."""
        given, options, device = self._parts.opened.serialized(), self._asked.options, self._asked.device
        key = key_of(given, repr(options), self._data.digest)
        held = self._data.held if device is None else self._data.held[:MOST_THERE]
        return Study(key, given, replace(options, jobs=1), held, _TIMING_SECONDS, device)

    def measure(
        self,
        crew: Crew,
        candidates: Sequence[Candidate],
        origin: str,
        wanted: Callable[[Candidate], bool] = lambda candidate: True,
    ) -> None:
        """Tries candidates, those that nobody tried yet, so many at a time as there are processes for.

        What is noted does not depend on how many these are: of those that are tried together, too, one counts only if
        it is still worth it behind all that stand before it.

        Args:
            wanted: whether one is worth it, of what is noted by then; never again once it is not.

        Raises:
            TimeIsUpError: there is no time for all; what came of the others is noted.
            DeviceLostError: the device does not answer any more.
        """
        missing = [each for each in candidates if each.key not in self._database.measured]
        self.seen.update(dict.fromkeys(each.key for each in candidates if each not in missing))
        tell = self._clock.ending(self._tell)
        start = 0
        while start < len(missing):
            tell(origin, start, len(missing))
            width = crew.width  # workers come and go
            some = [each for each in missing[start : start + width] if wanted(each)]
            start += width
            recipes = [None if each.is_exact else self._blank(each) for each in some]
            early: dict[int, Outcome] = {}
            turn = 0
            for place, outcome in crew.outcomes(recipes, self._clock.left()):
                if outcome.lost:
                    raise DeviceLostError(outcome.failed, where=str(self._asked.device), hint=_GOES_ON)
                early[place] = outcome
                while turn in early:
                    if wanted(some[turn]):
                        self._note(crew, some[turn], early[turn], origin)
                    turn += 1

    def _note(self, crew: Crew, candidate: Candidate, outcome: Outcome, origin: str) -> None:
        """What came of a candidate, and the best so far."""
        self._database.add([self._judged(crew, candidate, outcome, origin)])
        self.seen[candidate.key] = None
        self.save_best()

    def points(self) -> list[Point]:
        """What came of the candidates of this run, as far as they have a library; of the float model first."""
        return points_of(self._database, self.seen)

    def save_best(self) -> None:
        """Writes the recipe of the best point so far, if it is another by now."""
        points = points_of(self._database, self._database.measured)
        exact = next(point for point in points if point.candidate.is_exact)
        best = self._asked.budget.best(points, exact).candidate
        if best.key != self._written and self._output is not None:
            write_recipe(self._parts.recipe(best), self._output)
            self._written = best.key

    def _blank(self, candidate: Candidate) -> Recipe:
        """A recipe for a model that was serialized, whose checksum is another."""
        return replace(self._parts.recipe(candidate), model=ModelIdentity())

    def _judged(self, crew: Crew, candidate: Candidate, outcome: Outcome, origin: str) -> Measured:
        if outcome.failed:
            return Measured(candidate.key, failed=outcome.failed, origin=origin)
        if candidate.is_exact:
            self._reference = outcome.outputs
        reference = self._exact_outputs(crew)
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
        labels = self._data.labels
        return labels if labels is None or self._asked.device is None else labels[:MOST_THERE]

    def _exact_outputs(self, crew: Crew) -> dict[str, Array]:
        """What the float model makes of the samples that are held out: again, where an earlier run measured it."""
        if self._reference is None:
            ((_, made),) = crew.outcomes([None], self._clock.left())
            if made.failed:
                raise ToolError("the float model cannot be run", where=self._parts.opened.where, details=[made.failed])
            self._reference = made.outputs
        return self._reference


def points_of(database: Database, keys: Iterable[str]) -> list[Point]:
    """Those of candidates that have a library.

    Raises:
        DataError: not even the float model was measured.
    """
    exact = database.measured.get(Candidate().key)
    if exact is None:
        raise DataError("the search has measured nothing yet", where=str(database.folder))
    return [
        Point(candidate_of(key), line.quality, line.error, line.ratio * exact.seconds, line.bytes)
        for key in keys
        if not (line := database.measured[key]).failed
    ]

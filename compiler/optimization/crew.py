"""Processes of this machine that try candidates: one that dies or stands still is replaced, and nothing is lost."""

from __future__ import annotations

import pickle
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from math import inf
from pathlib import Path
from typing import Protocol

from ...errors import ToolError
from ..process.temporary import temporary_folder
from ..process.workers import Workers, start
from ..recipes.recipe import Recipe
from . import attempt
from .attempt import FromFile, Outcome, Study
from .clock import TimeIsUpError

ATTEMPTS = 2  # at a candidate whose process dies: a kernel that crashes would end any
_MOST_SECONDS = 900.0  # that one may take


class Crew(Protocol):
    """Who tries candidates."""

    @property
    def width(self) -> int:
        """How many at a time."""

    def outcomes(self, recipes: Sequence[Recipe | None], seconds: float = inf) -> Iterator[tuple[int, Outcome]]:
        """What comes of each, with its place, in any order; None is the float model itself.

        Raises:
            TimeIsUpError: so much time is over, and some are not done, which have ended.
        """
        ...


class Local:
    """Processes of this machine, each with one candidate at a time."""

    def __init__(self, study: Path, count: int) -> None:
        """Starts them.

        Args:
            study: a file that holds it.
        """
        self._study, self.width = study, count
        self._idle: queue.Queue[Workers | None] = queue.Queue()
        for _ in range(count):
            self._idle.put(start(1, attempt.__name__))

    def outcomes(self, recipes: Sequence[Recipe | None], seconds: float = inf) -> Iterator[tuple[int, Outcome]]:
        """As `Crew` says."""
        end = time.monotonic() + seconds
        with ThreadPoolExecutor(self.width) as threads:
            places = {threads.submit(self._outcome, recipe, end): place for place, recipe in enumerate(recipes)}
            try:
                for each in as_completed(places):
                    outcome = each.result()
                    if outcome is None:
                        raise TimeIsUpError
                    yield places[each], outcome
            except BaseException:
                for each in places:
                    each.cancel()
                raise

    def close(self) -> None:
        """Ends them."""
        for _ in range(self.width):
            workers = self._idle.get()
            if workers is not None:
                workers.kill()

    def _outcome(self, recipe: Recipe | None, end: float) -> Outcome | None:
        """None where the time is over before it is done."""
        job, workers = FromFile(self._study, recipe), self._idle.get()
        try:
            for _ in range(ATTEMPTS):
                if time.monotonic() >= end:
                    return None
                if workers is None:
                    workers = start(1, attempt.__name__)
                if workers is None:
                    return job()
                slow = threading.Timer(min(_MOST_SECONDS, end - time.monotonic()), workers.kill)
                slow.start()
                try:
                    outcome: Outcome = workers.run([job], lambda job: None, here=False)[0]
                    return outcome
                except (ToolError, OSError):  # it was killed, perhaps while it was spoken to, or crashed
                    workers = None
                finally:
                    slow.cancel()
            return None if time.monotonic() >= end else Outcome({}, failed="its process died")
        finally:
            self._idle.put(workers)


@contextmanager
def local_crew(study: Study, count: int) -> Iterator[Crew]:
    """Processes of this machine, which have ended when the block has."""
    with temporary_folder() as folder:
        place = folder / "study.pickle"
        place.write_bytes(pickle.dumps(study))
        crew = Local(place, count)
        try:
            yield crew
        finally:
            crew.close()

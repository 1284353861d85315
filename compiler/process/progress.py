"""What a long compile tells while it works: stages with their times, and how many kernels are done.

On a terminal a line that moves; without one a plain line for each stage that took long, all on stderr.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

# Called as on_progress(stage, done, total); `total` is 0 when a stage has no steps to count.
ProgressCallback: TypeAlias = Callable[[str, int, int], None]

QUIET_SECONDS = 2.0  # what is shorter needs no line
_REPEAT_SECONDS = 15.0  # how often a long stage reports without a terminal


@dataclass
class Stage:
    """A stage of the work and the seconds it has taken."""

    name: str
    seconds: float = 0.0
    done: int = 0
    total: int = 0

    def __str__(self) -> str:
        count = f" ({self.done} of {self.total})" if self.total else ""
        return f"{self.name}{count}  {self.seconds:.1f} s"


class Timeline:
    """Adds up the time of stages as they are announced. A stage that comes again is continued."""

    def __init__(self) -> None:
        self.stages: dict[str, Stage] = {}
        self._current: Stage | None = None
        self._since = time.perf_counter()

    def announce(self, name: str, done: int = 0, total: int = 0) -> Stage | None:
        """Notes that work on stage `name` goes on; returns the stage that this ended, if it ended one."""
        self._settle()
        ended = self._current if self._current is not None and self._current.name != name else None
        self._current = self.stages.setdefault(name, Stage(name))
        self._current.done, self._current.total = done, total
        return ended

    def finish(self) -> Stage | None:
        """Ends the last stage and returns it."""
        self._settle()
        ended, self._current = self._current, None
        return ended

    @property
    def current(self) -> Stage | None:
        """The stage that is going on, its seconds up to date."""
        self._settle()
        return self._current

    @property
    def total_seconds(self) -> float:
        """Time of all stages together."""
        return sum(stage.seconds for stage in self.stages.values())

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._current is not None:
            self._current.seconds += now - self._since
        self._since = now


@contextmanager
def shown(title: str, timeline: Timeline) -> Iterator[ProgressCallback]:
    """Shows progress on stderr while the block runs, in the way that fits: see this module.

    Args:
        title: what is being done, for people: ``compiling resnet50.onnx``.
        timeline: collects the stages' times.
    """
    if sys.stderr.isatty():
        with _shown_on_terminal(title, timeline) as callback:
            yield callback
    else:
        with _shown_in_lines(timeline) as callback:
            yield callback


@contextmanager
def _shown_in_lines(timeline: Timeline) -> Iterator[ProgressCallback]:
    last_line = time.perf_counter()

    def line(stage: Stage | None, at_least: float) -> None:
        nonlocal last_line
        if stage is not None and stage.seconds >= at_least:
            print(f"  {stage}", file=sys.stderr, flush=True)
            last_line = time.perf_counter()

    def announce(name: str, done: int = 0, total: int = 0) -> None:
        line(timeline.announce(name, done, total), QUIET_SECONDS)
        if time.perf_counter() - last_line > _REPEAT_SECONDS:
            line(timeline.current, 0.0)

    try:
        yield announce
    finally:
        line(timeline.finish(), QUIET_SECONDS)


@contextmanager
def _shown_on_terminal(title: str, timeline: Timeline) -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, count="")

        def announce(name: str, done: int = 0, total: int = 0) -> None:
            ended = timeline.announce(name, done, total)
            if ended is not None and ended.seconds >= QUIET_SECONDS:
                console.print(f"  {ended}", highlight=False)
            _move(bar, task, f"{title}: {name}", done, total)

        yield announce
    ended = timeline.finish()
    if ended is not None and ended.seconds >= QUIET_SECONDS:
        console.print(f"  {ended}", highlight=False)


def _move(bar: Bar, task: TaskID, description: str, done: int, total: int) -> None:
    bar.update(
        task, description=description, completed=done, total=total or None, count=f"{done} of {total}" if total else ""
    )

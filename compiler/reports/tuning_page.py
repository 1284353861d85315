"""`tune --html`: curves of the best against time and trials, and for each kernel where the time went, as one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from .curves import svg
from .pages import page_environment, page_file
from .report import duration
from .tuning_report import headline

if TYPE_CHECKING:
    from ...schedules.tuner.search import Task
    from ..tuning.session import Progress

_CURVES = 6  # workloads with a curve: those of the most time


def render(name: str, progress: Progress) -> str:
    """The page as HTML.

    Args:
        name: the model's.
        progress: of a run that has ended.
    """
    environment = page_environment()
    environment.filters.update(duration=duration, percent=lambda value: f"{100 * value:.1f}%")
    total = progress.default_seconds or 1.0
    rows = [
        {
            "number": number,
            "task": task,
            "share": task.seconds / total,
            "won": task.seconds * (1 - task.best_ratio),
            "choice": str(task.best.decision.choice) if task.best is not None else "the default",
        }
        for number, task in enumerate(progress.tasks, 1)
    ]
    return environment.get_template("tuning.html.jinja").render(
        name=name,
        headline=headline(progress),
        failed=", ".join(f"{count} {state}" for state, count in progress.failed.items()),
        rows=rows,
        whole=Markup(_whole(progress)),
        single=Markup(_single(progress.tasks)),
        style=page_file("bench.css"),
    )


def _whole(progress: Progress) -> str:
    points = [(moment.seconds, moment.best_seconds / progress.default_seconds) for moment in progress.history]
    return svg("All kernels", "seconds of tuning", "best / default", {"best known": points} if points else {})


def _single(tasks: list[Task]) -> str:
    lines = {
        f"{number}: {type(task.default.workload).__name__}": [(0.0, 1.0), *((float(at), y) for at, y in _points(task))]
        for number, task in enumerate(tasks[:_CURVES], 1)
        if task.curve
    }
    return svg("The kernels of the most time", "choices measured", "best / default", lines)


def _points(task: Task) -> list[tuple[int, float]]:
    return list(enumerate(task.curve, 1))

"""What `tune` tells: how far it is, what it found for each workload, and how many choices there are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .report import Table, duration

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from ...schedules.tuner.search import Task
    from ..tuning.session import Progress

_LIVE_ROWS = 16


def headline(progress: Progress) -> str:
    """One line: where it stands and what was won."""
    parts = [f"{progress.seconds:.0f} s", progress.stage, f"{progress.trials} choices measured"]
    if progress.default_seconds:
        parts.append(
            f"kernels {duration(progress.default_seconds)} -> {duration(progress.best_seconds)} "
            f"({progress.best_seconds / progress.default_seconds:.2f})"
        )
    if progress.failed:
        parts.append("not used: " + ", ".join(f"{count} {state}" for state, count in progress.failed.items()))
    return ", ".join(part for part in parts if part)


def tables(progress: Progress) -> list[str | Table]:
    """The end: what each workload takes by default and at best, those of the most time first."""
    table = Table(("workload", ">calls' time", ">best", ">ratio", ">measured", ">of", "choice"))
    for task in progress.tasks:
        ratio = task.best_ratio
        choice = str(task.best.decision.choice) if task.best is not None else "the default"
        table.add(
            task.key,
            duration(task.seconds),
            duration(task.seconds * ratio),
            f"{ratio:.2f}",
            task.tried,
            task.size,
            choice,
        )
    return [table, headline(progress)]


def to_json(progress: Progress) -> dict[str, Any]:
    """The same as JSON takes it, seconds and full names."""
    return {
        "seconds": progress.seconds,
        "generations": progress.generation,
        "trials": progress.trials,
        "measured": progress.measured,
        "failed": progress.failed,
        "default_seconds": progress.default_seconds,
        "best_seconds": progress.best_seconds,
        "workloads": [
            {
                "workload": task.key,
                "default_seconds": task.seconds,
                "ratio": task.best_ratio,
                "measured": task.tried,
                "choices": task.size,
                "default": str(task.default.choice),
                "best": str((task.best.decision if task.best is not None else task.default).choice),
            }
            for task in progress.tasks
        ],
    }


def live_table(title: str, progress: Progress) -> RichTable:
    """What a terminal shows while it goes on."""
    from rich.table import Table as RichTable

    table = RichTable(title=f"tuning {title}: {headline(progress)}", title_justify="left", box=None)
    for name in ("workload", "default", "best", "measured"):
        table.add_column(name, justify="left" if name == "workload" else "right", no_wrap=True, overflow="ellipsis")
    for task in progress.tasks[:_LIVE_ROWS]:
        best = f"{task.best_ratio:.2f}" if task.best is not None else "-"
        state = f"{task.tried} of {task.size}" + (", done" if task.is_done else "")
        table.add_row(task.key.replace("[", "\\["), duration(task.seconds), best, state)
    return table


def spaces_table(tasks: Sequence[Task]) -> Table:
    """How many choices each workload has in each template that takes it."""
    table = Table(("workload", ">choices", "of them", "default"))
    for task in tasks:
        table.add(task.key, task.size, _by_template(task), task.default.choice)
    table.add("all", sum(task.size for task in tasks), "", "")
    return table


def _by_template(task: Task) -> str:
    return ", ".join(f"{name} {count}" for name, count in task.sizes.items())


def spaces_json(tasks: Sequence[Task]) -> list[dict[str, Any]]:
    """The same as JSON takes it."""
    return [
        {
            "workload": task.key,
            "template": task.default.template.name,
            "choices": task.size,
            "choices_by_template": task.sizes,
            "default": str(task.default.choice),
        }
        for task in tasks
    ]

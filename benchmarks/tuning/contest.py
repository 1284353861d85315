"""The last word on choices that were measured apart: all of them again, in turns with the default, for longer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.compiler.tuning.session import Limits
from tilewright.schedules.templates.template import Choose, choose_default
from tilewright.schedules.tuner.records import Record, read
from tilewright.schedules.tuner.search import Candidate, Task
from tilewright.targets.target import Target

from .searching import search

_SECONDS = 2.0  # that a generation is measured

# For each workload, by its key, choices as texts.
Contestants = Mapping[str, Sequence[str]]


class _Named:
    """Proposes the choices that are named."""

    def __init__(self, contestants: Contestants) -> None:
        self._contestants = contestants

    def learn(self, measured: Sequence[tuple[Task, Candidate, float]]) -> None:
        """Notes what was measured."""
        for task, candidate, ratio in measured:
            task.learn(candidate, ratio)

    def proposals(self, task: Task, count: int) -> list[Candidate]:
        """Those that were not measured yet."""
        names = set(self._contestants.get(task.key, ()))
        left = [each for each in task.candidates if each.ratio is None and str(each.decision.choice) in names]
        return left[:count]


def contest(
    model: Any, contestants: Contestants, records: Path, *, threads: int, defaults: Choose = choose_default
) -> dict[str, dict[str, float]]:
    """For each workload the ratio of each of its contestants to the default; a default that was named has 1."""
    proposer: Callable[[Target], _Named] = lambda target: _Named(contestants)  # noqa: E731  # its type is said
    limits = Limits(stops_early=False, measure_seconds=_SECONDS)
    found = search(model, records, limits, threads=threads, title="contest", proposer=proposer, defaults=defaults)
    ratios: dict[str, dict[str, float]] = {}
    for task in found.tasks:
        ratios[task.key] = {str(task.default.choice): 1.0}
        for each in task.candidates:
            if each.ratio is not None:
                ratios[task.key][str(each.decision.choice)] = each.ratio
    return ratios


def best_choices(records: Path, count: int) -> dict[str, list[str]]:
    """For each workload of a file of records the choices that were fastest in it."""
    by_key: dict[str, dict[str, Record]] = {}
    for record in read(records)[0]:
        known = by_key.setdefault(record.workload, {})
        if record.choice not in known or known[record.choice].slowness < record.slowness:
            known[record.choice] = record
    return {
        key: [each.choice for each in sorted(of_key.values(), key=lambda each: each.slowness)[:count]]
        for key, of_key in by_key.items()
    }

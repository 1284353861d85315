"""Records as samples for the cost model: features worked out again from what the records say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from tilewright.schedules.templates import choices
from tilewright.schedules.templates.keys import parse_key
from tilewright.schedules.templates.table import TEMPLATES, WORKLOADS
from tilewright.schedules.templates.template import Decision, choose_default
from tilewright.schedules.tuner.cost_model import Sample
from tilewright.schedules.tuner.features import Features, features_of
from tilewright.schedules.tuner.records import OK, Record, fingerprint, read
from tilewright.schedules.tuner.search import Candidate, Task
from tilewright.targets import parse
from tilewright.targets.target import Target


def samples_of(path: Path) -> list[Sample]:
    """The samples of a file of records, those of each workload with its default; a group is a workload and threads."""
    found: list[Sample] = []
    for (machine, key, threads), records in _grouped(path).items():
        group = f"{key}, {threads} threads"
        samples: dict[str, Sample] = {}
        for decision, _, features, record in _decisions(key, _target(machine).with_cores(threads), records):
            ratio = 1.0 if record is None else record.ratio if record.state == OK else float("inf")
            name = str(decision.choice)
            if name not in samples or samples[name].ratio < ratio:
                samples[name] = Sample(group, features, ratio)
        found += samples.values()
    return found


def _grouped(path: Path) -> dict[tuple[str, str, int], list[Record]]:
    """Records by machine, workload and threads."""
    by_group: dict[tuple[str, str, int], list[Record]] = {}
    for record in read(path)[0]:
        by_group.setdefault((record.target, record.workload, record.threads), []).append(record)
    return by_group


def _target(machine: str) -> Target:
    """The target that a fingerprint was taken of."""
    host = parse("host")
    triple, cpu, *_ = machine.split(" ")
    return host if fingerprint(host) == machine else parse(triple, cpu=cpu)


def _decisions(
    key: str, target: Target, records: Iterable[Record]
) -> Iterator[tuple[Decision[Any, Any], float, Features, Record | None]]:
    """The default of a workload, and what was measured of it and is a choice still, with estimates and features."""
    workload = parse_key(key, WORKLOADS)
    templates = [template for template in TEMPLATES if template.takes(workload, target)]
    default = choose_default(templates, workload, target)
    base = default.cycles(target)
    yield default, base, features_of(default, target, base, base), None
    for record in records:
        template = next((each for each in templates if each.name == record.template), None)
        choice = choices.parse(record.choice)
        if template is not None and choice in template.space(workload, target):
            decision = Decision(template, workload, choice)
            estimate = decision.cycles(target)
            yield decision, estimate, features_of(decision, target, estimate, base), record


def measured_tasks(path: Path) -> Iterator[tuple[Task, dict[str, float], Target]]:
    """The workloads of a file of records as tasks of what was measured alone; with the ratios by choice."""
    for (machine, key, threads), records in _grouped(path).items():
        target = _target(machine).with_cores(threads)
        ratios: dict[str, float] = {}
        candidates: dict[str, Candidate] = {}
        base = None
        for decision, estimate, features, record in _decisions(key, target, records):
            if record is None:
                base = decision, features
                continue
            name, ratio = str(decision.choice), record.ratio if record.state == OK else float("inf")
            ratios[name] = max(ratio, ratios.get(name, 0.0))
            candidates[name] = Candidate(decision, estimate, features)
        if base is not None and candidates:
            ordered = sorted(candidates.values(), key=lambda each: each.estimate)
            yield Task(key, base[0], ordered, len(ordered), base[1]), ratios, target

"""Defaults made as bad as can be, and brought back: `python -m benchmarks.tuning.detuned` writes a Markdown page.

First curves: the choices that `benchmarks.tuning.unusual` measured are searched again, without measuring, by chance, by
the tuner from nothing, and by the tuner from what was learned before. Then the worst valid choice of each default's
template takes the default's place, the tuner measures, and what it finds meets the best of the wide search.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from tilewright.compiler.reports.curves import svg
from tilewright.compiler.tuning.session import Limits
from tilewright.schedules.templates.template import Decision, Template, choose_default
from tilewright.schedules.tuner.cost_model import CostModel, pretrained_for
from tilewright.schedules.tuner.search import Candidate, Sampling, Search, Task
from tilewright.targets import parse
from tilewright.targets.target import Target

from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from .contest import best_choices, contest
from .layers import as_model
from .samples import measured_tasks
from .searching import say, search
from .unusual import FOLDER, LAYERS

_BATCH = 4  # measurements between two trainings
_SEEDS = 3
_LOOKED_AT = 4000  # choices among which the worst is
_BEST = 2

Curve = list[tuple[float, float]]


class _Chance(Sampling):
    """Proposes at random alone."""

    def proposals(self, task: Task, count: int = 1) -> list[Candidate]:
        left = [each for each in task.candidates if each.ratio is None]
        return self._random.sample(left, min(count, len(left)))


def worst(templates: Sequence[Template[Any, Any]], workload: Any, target: Target) -> Decision[Any, Any]:
    """The choice of the most estimated cycles of the template that computes the workload by default."""
    template = choose_default(templates, workload, target).template
    choices = islice(template.space(workload, target), _LOOKED_AT)
    decisions = [Decision(template, workload, choice) for choice in choices]
    return max(decisions, key=lambda each: each.cycles(target))


def curve(records: Path, make: Callable[[Target, int], Search | Sampling], trials: int) -> Curve:
    """The geometric mean over workloads of the best time after each measurement over the best of all."""
    behind: list[list[float]] = []
    for seed in range(_SEEDS):
        for task, ratios, target in measured_tasks(records):
            search_, best = make(target, seed), min(ratios.values())
            while task.tried < min(trials, len(ratios)):
                proposed = search_.proposals(task, min(_BATCH, trials - task.tried))
                search_.learn([(task, each, ratios[str(each.decision.choice)]) for each in proposed])
            found = [min(each) for each in (task.curve[: place + 1] for place in range(len(task.curve)))]
            behind.append([each / min(1.0, best) for each in (*found, *[found[-1]] * (trials - len(found)))])
    return [(place + 1, math.exp(fmean(math.log(each[place]) for each in behind))) for place in range(trials)]


def main(arguments: Sequence[str]) -> int:
    """Searches and writes the page and its picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.detuned", description=__doc__)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--threads", type=int, default=parse("host").cores)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the records of benchmarks.tuning.unusual")
    parser.add_argument("--out", type=Path, default=Path("build/tuning/detuned.md"))
    options = parser.parse_args(arguments)
    wide = options.folder / "wide.jsonl"
    lines = {
        "random": curve(wide, lambda target, seed: _Chance(seed), options.trials),
        "untrained": curve(wide, lambda target, seed: Search(CostModel(), seed), options.trials),
        "pretrained": curve(wide, lambda target, seed: Search(CostModel(pretrained_for(target)), seed), options.trials),
    }
    picture = options.out.with_suffix(".svg")
    write_file(picture, svg("Best choice found, over the best of all", "measurements", "time", lines))
    say(f"{picture}")
    rows = _brought_back(options.folder, options.trials, options.threads)
    command = shlex.join(["python", "-m", "benchmarks.tuning.detuned", *arguments])
    write_file(options.out, _markdown(lines, rows, options.trials, picture.name, command))
    say(f"{options.out}")
    return 0


def _brought_back(folder: Path, trials: int, threads: int) -> list[tuple[str, float, float]]:
    """For each workload the worst choice's time over the best, and the tuner's over the best."""
    model, records = as_model(LAYERS), folder / "detuned.jsonl"
    limits = Limits(trials_of_each=trials, stops_early=False)
    search(model, records, limits, threads=threads, title="detuned", defaults=worst)
    winners, best = best_choices(records, 1), best_choices(folder / "wide.jsonl", _BEST)
    contestants = {key: [*best.get(key, []), *winners.get(key, [])] for key in {*best, *winners}}
    ratios = contest(model, contestants, folder / "detuned-contest.jsonl", threads=threads, defaults=worst)
    rows = []
    for key, of_key in ratios.items():
        least = min(of_key.values())
        found = of_key.get(winners[key][0], 1.0) if key in winners else 1.0
        rows.append((key, 1 / least, found / least))
    return rows


def _markdown(
    lines: dict[str, Curve], rows: Sequence[tuple[str, float, float]], trials: int, picture: str, command: str
) -> str:
    shown = [at for at in (4, 8, 12, 16, 24) if at <= trials]
    near = sum(found <= 1.05 for _, _, found in rows)
    return "\n".join(
        [
            "# Searches compared",
            "",
            f"{this_machine()}. The best time found over the best of all that were measured, geometric mean over "
            f"{len(LAYERS)} layers and {_SEEDS} seeds, after so many measurements:",
            "",
            *table_head(("search", *map(str, shown))),
            *(table_row((name, *(f"{line[at - 1][1]:.3f}" for at in shown))) for name, line in lines.items()),
            "",
            f"![curves]({picture})",
            "",
            f"With the worst choice as the default, {trials} measurements come within 5% of the best on {near} of "
            f"{len(rows)} layers:",
            "",
            *table_head(("workload", "worst over best", "tuned over best")),
            *(
                table_row((f"`{key}`", f"{bad:.1f}", f"{found:.3f}"))
                for key, bad, found in sorted(rows, key=lambda row: -row[2])
            ),
            "",
            *made_by(command),
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

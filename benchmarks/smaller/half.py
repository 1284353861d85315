"""Half of the work by channels: what networks lose and gain: `python -m benchmarks.smaller.half TASK ...`.

Of each trained network channels go until half of its FLOPs are left, chosen and fitted on the calibration samples of
`benchmarks.accuracy`; what that costs is told of its other samples, without recovery, with it, and distilled. Times
are of one thread, in turns with the float library. A task whose weights or data are not at hand is skipped.

Exit codes: 0 done; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tilewright
from tilewright import frontends
from tilewright.compiler.build import target_of
from tilewright.compiler.compression.prune import prune
from tilewright.compiler.compression.pruning import Pruning
from tilewright.compiler.library.artifact import CompiledModel
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.compiler.recipes.recipe import Recipe
from tilewright.compiler.runners.local import LocalRunner

from ..accuracy.task import Task
from ..accuracy.tasks import TASKS
from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from ..trained import SourceMissingError

ROOT = Path(__file__).resolve().parents[2]
ONE = CompileOptions(threads=1)
_TURNS, _SECONDS = 9, 0.1
UNRECOVERED, RECOVERED, DISTILLED = "no recovery", "recovered", "distilled"


@dataclass(frozen=True)
class Row:
    """What half of a network does.

    Attributes:
        work: the share of FLOPs that is left.
        time: of a run, over that of the whole network.
        floats: the score of the whole network; `scores` those of the half, by how it was made.
    """

    task: str
    metric: str
    work: float
    time: float
    floats: float
    scores: Mapping[str, float]


def measured(task: Task, work: float, epochs: int) -> Row:
    """A row.

    Args:
        epochs: of distillation; 0: none.
    """
    opened = frontends.open(task.model)
    asked = Pruning(work=work).for_vectors(target_of(ONE).lanes())
    samples = [dict(each) for each in (*task.calibration, *task.further)]
    pruned = prune(opened, samples, asked, ONE, _silent)
    recipes = {UNRECOVERED: replace(pruned.recipe, arrays={}), RECOVERED: pruned.recipe}
    if epochs:
        recipes[DISTILLED] = prune(opened, samples, replace(asked, distill=True, epochs=epochs), ONE, _silent).recipe
    whole = tilewright.compile(opened, threads=1)
    floats = [whole.run(sample) for sample in task.held]
    scores, time = {}, 0.0
    for name, library in _libraries(task, recipes):
        scores[name] = task.score([library.run(sample) for sample in task.held], floats)
        time = ratio(library, whole, dict(task.held[0]))
        print(f"{task.name}, {name}: {scores[name]:.4g} {task.metric}, time {time:.2f}", flush=True)
    return Row(task.name, task.metric, pruned.flops[1] / pruned.flops[0], time, task.score(floats, floats), scores)


def _libraries(task: Task, recipes: Mapping[str, Recipe]) -> Iterator[tuple[str, CompiledModel]]:
    for name, recipe in recipes.items():
        yield name, tilewright.compile(task.model, recipe=recipe, threads=1)


def ratio(one: CompiledModel, other: CompiledModel, sample: Mapping[str, object]) -> float:
    """The time of a run over that of another library, measured in turns."""
    runner = LocalRunner()
    times = [
        [min(runner.time(library, sample, seconds=_SECONDS)) for library in (one, other)]  # type: ignore[arg-type]
        for _ in range(_TURNS)
    ]
    return statistics.median(own / its for own, its in times)


def _silent(stage: str, done: int, total: int) -> None:
    pass


def page(rows: Sequence[Row], command: str) -> str:
    """The table for people."""
    names = [name for name in (UNRECOVERED, RECOVERED, DISTILLED) if any(name in row.scores for row in rows)]
    lines = [
        "# Half of the work",
        "",
        f"- {this_machine()}",
        f"- {datetime.date.today().isoformat()}",
        "",
        "Channels go until half of the layers' FLOPs are left, or as many as can go; in brackets, what is lost. Chosen",
        "and fitted on samples without labels; scores of other samples. Time: one thread, over the whole network's.",
        "",
        *table_head(["task", "score", "whole", *names, "FLOPs", "time"]),
    ]
    for row in rows:
        cells = [
            f"{row.scores[name]:.4g} ({row.floats - row.scores[name]:.2g})" if name in row.scores else ""
            for name in names
        ]
        lines.append(
            table_row([row.task, row.metric, f"{row.floats:.4g}", *cells, f"{row.work:.2f}", f"{row.time:.2f}"])
        )
    return "\n".join([*lines, "", *made_by(command)])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smaller.half", description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; all by default")
    parser.add_argument("--work", type=float, default=0.5, help="the share that is left")
    parser.add_argument("--epochs", type=int, default=0, help="of distillation; by default none")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "half.json", help="results; a page beside it")
    options = parser.parse_args(given)
    unknown = [name for name in options.tasks if name not in TASKS]
    if unknown:
        parser.error(f"there is no task {unknown[0]}")
    command = shlex.join(["python", "-m", "benchmarks.smaller.half", *given])
    rows = [Row(**each) for each in json.loads(options.out.read_text())["rows"]] if options.out.exists() else []
    for name in options.tasks or TASKS:
        with temporary_folder() as folder:
            try:
                row = measured(TASKS[name](folder), options.work, options.epochs)
            except SourceMissingError as reason:
                print(f"{name}: skipped: {reason}", file=sys.stderr)
                continue
        rows = [*(each for each in rows if each.task != name), row]
        write_file(options.out, json.dumps({"rows": [asdict(each) for each in rows]}, indent=1) + "\n")
        write_file(options.out.with_suffix(".md"), page(rows, command))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What int8 costs of accuracy, ours beside ONNX Runtime's and NNCF's defaults: `python -m benchmarks.accuracy`.

Trained networks on data of their kind, the same calibration samples for all; scores are of other samples. A task whose
weights or data are not at hand is skipped with the reason, and so is a quantizer that is not installed (the extra
`accuracy` has all). What is measured replaces the rows that --out holds of the same task and quantizer; a page is
written beside it.

Exit codes: 0 done; 1 Tilewright lost more than a task's goal; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from tilewright.compiler.process.temporary import temporary_folder

from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from ..trained import SourceMissingError
from .quantizers import QUANTIZERS, in_float
from .task import Task
from .tasks import TASKS

ROOT = Path(__file__).resolve().parents[2]
OURS = "tilewright"


@dataclass(frozen=True)
class Row:
    """One task by one quantizer.

    Attributes:
        calibration, held: how many samples.
        floats, score: what the float network and the quantized one are worth.
        most_loss: what the goal allows.
        note: what the quantizer says of it.
        seconds: of quantizing.
    """

    task: str
    quantizer: str
    metric: str
    calibration: int
    held: int
    floats: float
    score: float
    most_loss: float
    note: str = ""
    seconds: float = 0.0

    @property
    def loss(self) -> float:
        """What is lost of the score."""
        return self.floats - self.score


def measured(task: Task, quantizers: Sequence[str], folder: Path) -> Iterator[Row]:
    """The rows of a task; of a quantizer that cannot take the network none."""
    run = in_float(task)
    floats = [run(sample) for sample in task.held]
    exact = task.score(floats, floats)
    for name in quantizers:
        start = time.perf_counter()
        try:
            run, note = QUANTIZERS[name].make(task, folder)
        except Exception as error:  # others have exceptions of their own
            if name.startswith(OURS):
                raise
            print(f"{task.name}, {name}: failed: {type(error).__name__}: {str(error)[:200]}", file=sys.stderr)
            continue
        seconds = time.perf_counter() - start
        score = task.score([run(sample) for sample in task.held], floats)
        counts = len(task.calibration), len(task.held)
        text = f"{score:.4g} of {exact:.4g} {task.metric}"
        print(f"{task.name}, {name}: {text}{', ' if note else ''}{note}, {seconds:.0f} s", flush=True)
        yield Row(task.name, name, task.metric, *counts, exact, score, task.most_loss, note, seconds)


def page(rows: Sequence[Row], command: str) -> str:
    """The table for people."""
    names = [name for name in QUANTIZERS if any(row.quantizer == name for row in rows)]
    found = {(row.task, row.quantizer): row for row in rows}
    versions = [f"{name} {metadata.version(name)}" for name in names if not name.startswith(OURS)]
    lines = [
        "# What int8 costs of accuracy",
        "",
        f"- {this_machine()}",
        f"- {', '.join(versions) or 'no other quantizer'}; {datetime.date.today().isoformat()}",
        "",
        "Trained networks; the same calibration samples for all, scores of other samples. In a library of",
        "`tilewright` those layers are int8 that gain by it on this machine, of `tilewright-all` all that can be,",
        "whatever that costs in time. The others are their defaults: ONNX Runtime's `quantize_static`, and",
        "`nncf.quantize` run by OpenVINO. In brackets, what is lost against the float network. Where nothing stands,",
        "a quantizer failed, or was not tried.",
        "",
        *table_head(["task", "score", "samples", "float", *names, "goal"]),
    ]
    for task in TASKS:
        of_task = [found[task, name] for name in names if (task, name) in found]
        if not of_task:
            continue
        first = of_task[0]
        cells = [
            f"{found[task, name].score:.4g} ({found[task, name].loss:.2g})" if (task, name) in found else ""
            for name in names
        ]
        samples = f"{first.calibration} + {first.held}"
        lines.append(table_row([task, first.metric, samples, f"{first.floats:.4g}", *cells, f"{first.most_loss:.2g}"]))
    notes = [f"- {row.task}, {row.quantizer}: {row.note}" for row in rows if row.note]
    told = ["Layers in int8:", "", *notes, ""] if notes else []
    return "\n".join([*lines, "", *told, *made_by(command)])


def _kept(out: Path) -> list[Row]:
    if not out.exists():
        return []
    return [Row(**each) for each in json.loads(out.read_text())["rows"]]


def keep(out: Path, row: Row, command: str) -> None:
    """Puts a row into the file in the place of that of the same task and quantizer, and writes the page anew."""
    rows = [each for each in _kept(out) if (each.task, each.quantizer) != (row.task, row.quantizer)] + [row]
    write_file(out, json.dumps({"rows": [asdict(each) for each in rows]}, indent=1) + "\n")
    write_file(out.with_suffix(".md"), page(rows, command))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.partition("\n")[0])
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=f"of {', '.join(TASKS)}; all by default")
    parser.add_argument("--quantizers", nargs="+", choices=list(QUANTIZERS), default=list(QUANTIZERS), metavar="NAME")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "accuracy.json", help="results; a page beside it")
    options = parser.parse_args(given)
    unknown = [name for name in options.tasks if name not in TASKS]
    if unknown:
        parser.error(f"there is no task {unknown[0]}")
    if options.out.suffix != ".json":
        parser.error("--out must end in .json; the page is written beside it")
    quantizers = []
    for name in options.quantizers:
        missing = QUANTIZERS[name].missing()
        if missing:
            print(f"{name}: skipped: not installed: {missing}", file=sys.stderr)
        else:
            quantizers.append(name)
    command = shlex.join(["python", "-m", "benchmarks.accuracy", *given])
    for name in options.tasks or TASKS:
        with temporary_folder() as folder:
            try:
                for row in measured(TASKS[name](folder), quantizers, folder):
                    keep(options.out, row, command)
            except SourceMissingError as reason:
                print(f"{name}: skipped: {reason}", file=sys.stderr)
    return int(any(row.loss > row.most_loss for row in _kept(options.out) if row.quantizer == OURS))


if __name__ == "__main__":
    sys.exit(main())

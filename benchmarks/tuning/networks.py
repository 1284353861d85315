"""Networks before and after tuning: `python -m benchmarks.tuning.networks` writes a Markdown page.

Each network is tuned for some seconds, compiled with and without its records, and both libraries run in turns. Results
are written after every network; one that is in the file is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import tilewright
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.compiler.tuning.session import Limits
from tilewright.targets import parse

from ..exporting import default_folder
from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from .searching import say, search

NETWORKS = ("resnet50", "mobilenet_v2", "efficientnet_b0", "bert_base")
FOLDER = Path("build/tuning/networks")
_RUN_SECONDS = 10.0
_LEAST_RUNS, _TURN = 15, 3  # pairs of turns, and runs in each of them


@dataclass(frozen=True)
class Row:
    """A network.

    Attributes:
        ratio: of the tuned library's time to the other's, the median of turns after each other.
        milliseconds, tuned_milliseconds: of one run, medians.
        trials, seconds: of the search, all included.
        error: the largest difference of an output over its largest value.
    """

    name: str
    ratio: float
    milliseconds: float
    tuned_milliseconds: float
    trials: int
    seconds: float
    error: float


def run(name: str, models: Path, folder: Path, seconds: float, threads: int) -> Row:
    """Tunes a network and measures it."""
    path, records = models / f"{name}.onnx", folder / f"{name}.jsonl"
    begin = time.monotonic()
    found = search(path, records, Limits(seconds), threads=threads, title=name, wanted=lambda workload: True)
    passed = time.monotonic() - begin
    with temporary_folder() as place:
        plain = tilewright.compile(path, output=place / "plain.so", threads=threads)
        tuned = tilewright.compile(path, output=place / "tuned.so", threads=threads, records=records)
        with np.load(path.with_suffix(".npz")) as stored:
            inputs = {spec.name: stored[spec.name] for spec in plain.inputs}
        outputs = [library.run(inputs) for library in (plain, tuned)]
        error = max(
            float(np.abs(outputs[0][output] - outputs[1][output]).max() / np.abs(outputs[0][output]).max())
            for output in outputs[0]
        )
        times: list[tuple[float, float]] = []
        end = time.monotonic() + _RUN_SECONDS
        while len(times) < _LEAST_RUNS or time.monotonic() < end:
            times.append((_turn(plain, inputs), _turn(tuned, inputs)))
    table = np.array(times)
    ratio = float(np.median(table[:, 1] / table[:, 0]))
    before, after = (float(value) * 1e3 for value in np.median(table, axis=0))
    return Row(name, ratio, before, after, found.measured, passed, error)


def _turn(library: tilewright.CompiledModel, inputs: Mapping[str, Any]) -> float:
    library.run(inputs)
    begin = time.perf_counter()
    for _ in range(_TURN):
        library.run(inputs)
    return (time.perf_counter() - begin) / _TURN


def markdown(rows: Sequence[Row], threads: int, seconds: float, command: str) -> str:
    """The page."""
    mean = math.exp(fmean(math.log(row.ratio) for row in rows))
    trials = [row.seconds / row.trials for row in rows if row.trials]
    each = f"{fmean(trials):.2f}" if trials else "no"
    return "\n".join(
        [
            "# Networks before and after tuning",
            "",
            f"{this_machine()}, {threads} threads, {seconds:.0f} s of tuning each. Tuned over untuned: geometric mean "
            f"{mean:.3f}, worst {max(row.ratio for row in rows):.3f}. A measured choice takes {each} s on average, "
            "reading, compiling and confirming included.",
            "",
            *table_head(("network", "untuned ms", "tuned ms", "ratio", "choices", "s each", "largest error")),
            *(
                table_row(
                    (
                        row.name,
                        f"{row.milliseconds:.2f}",
                        f"{row.tuned_milliseconds:.2f}",
                        f"{row.ratio:.3f}",
                        str(row.trials),
                        f"{row.seconds / max(1, row.trials):.2f}",
                        f"{row.error:.1e}",
                    )
                )
                for row in rows
            ),
            "",
            *made_by(command),
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Tunes, measures and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.networks", description=__doc__)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    parser.add_argument("--seconds", type=float, default=120, help="of tuning, each network")
    parser.add_argument("--threads", type=int, default=parse("host").cores)
    parser.add_argument("--models", type=Path, default=default_folder(), help="where exported networks are kept")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the records")
    parser.add_argument("--out", type=Path, default=Path("build/tuning/networks.md"))
    options = parser.parse_args(arguments)
    stored = options.out.with_suffix(".json")
    rows = [Row(**row) for row in json.loads(stored.read_text())] if stored.exists() else []
    command = shlex.join(["python", "-m", "benchmarks.tuning.networks", *arguments])
    for name in options.names:
        if all(row.name != name for row in rows):
            rows.append(run(name, options.models, options.folder, options.seconds, options.threads))
            write_file(stored, json.dumps([asdict(row) for row in rows], indent=1))
            write_file(options.out, markdown(rows, options.threads, options.seconds, command))
            say(f"{name}: {rows[-1].ratio:.3f} of the untuned time, {rows[-1].trials} choices")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How near arenas are to the least that any plan could take: `python -m benchmarks.arenas first-dozen tiny`.

Models are compiled as far as their memory: those of the harness as libraries for this machine with one thread, those
of MLPerf Tiny as C sources for Cortex-M. The least is the most that is alive together at one step
(`compiler/emission/memory.py`). The page is written after each model.

Exit codes: 0 done; 1 an arena is larger than the goal of 5% above the least; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from tilewright.compiler.build import build
from tilewright.compiler.emission.memory import lower_bound
from tilewright.compiler.options import CompileOptions
from tilewright.targets import parse

from . import trained
from .compare import UsageError, find_model
from .exporting import default_folder
from .measurement import write_file
from .microcontrollers.case import NAMES, find_file
from .models import expand
from .report import made_by, table_head, table_row

TINY = "tiny"
GOAL = 1.05
_ENOUGH = 4 << 20  # for models of MLPerf Tiny as a whole, not in patches
_BOARDS = (("thumbv7em-none-eabihf", "cortex-m4"), ("thumbv8.1m.main-none-eabihf", "cortex-m55"))


@dataclass(frozen=True)
class Row:
    """The arena of one model for one target, and the most that is alive together, in bytes."""

    model: str
    target: str
    arena_bytes: int
    least_bytes: int

    @property
    def ratio(self) -> float:
        """How much larger it is."""
        return self.arena_bytes / self.least_bytes if self.least_bytes else 1.0


def measured(name: str, path: Path, options: CompileOptions) -> Row:
    """The row of a model."""
    made = build(str(path), None, options, stop_after="plan")
    assert made.plan is not None
    least = lower_bound(made.plan.buffers, made.target.alignment)
    return Row(name, made.target.cpu, int(made.plan.workspace_bytes), int(least))


def rows(names: Sequence[str], folder: Path, python: str) -> Iterator[Row]:
    """Those of all models named; `tiny` stands for all of MLPerf Tiny."""
    for name in names:
        if name != TINY and name not in NAMES:
            for each in expand([name]):
                yield measured(Path(each).stem, find_model(each, folder), CompileOptions(threads=1, jobs=1))
            continue
        for tiny in NAMES if name == TINY else [name]:
            path = find_file(tiny, folder, python)
            for triple, cpu in _BOARDS:
                target = parse(triple, cpu=cpu)
                yield measured(tiny, path, CompileOptions(target=target, emit="c", name="net", jobs=1, arena=_ENOUGH))


def page(found: Sequence[Row], command: str) -> str:
    """The Markdown page."""
    worst = max(found, key=lambda row: row.ratio)
    return "\n".join(
        [
            "# Arenas, and the least that they could be",
            "",
            "The least is the most that is alive together at one step, whatever the offsets. Models of the harness are",
            "libraries for this machine with one thread, those of MLPerf Tiny C sources, as wholes.",
            "",
            *table_head(["model", "processor", "arena, bytes", "least, bytes", "ratio"]),
            *(
                table_row([row.model, row.target, f"{row.arena_bytes:,}", f"{row.least_bytes:,}", f"{row.ratio:.3f}"])
                for row in found
            ),
            "",
            f"The largest ratio is {worst.ratio:.3f} ({worst.model}, {worst.target}).",
            "",
            *made_by(command),
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arenas", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", help=f"models of the harness, their groups, {TINY}, {', '.join(NAMES)}")
    parser.add_argument("--models", type=Path, default=default_folder(), help="where exported models are kept")
    parser.add_argument("--python", default=trained.TENSORFLOW_PYTHON, help="with TensorFlow, which converts Tiny's")
    parser.add_argument("--out", type=Path, default=Path("build/arenas.md"), help="the page")
    options = parser.parse_args(given)
    console, found = Console(stderr=True, highlight=False), list[Row]()
    try:
        for row in rows(options.names, options.models, options.python):
            console.print(f"{row.model}, {row.target}: {row.arena_bytes:,} bytes, {row.ratio:.3f} of the least")
            found.append(row)
            write_file(options.out, page(found, shlex.join(["python", "-m", "benchmarks.arenas", *given])))
    except (UsageError, trained.SourceMissingError) as error:
        parser.error(str(error))
    return int(any(row.ratio > GOAL for row in found))


if __name__ == "__main__":
    sys.exit(main())

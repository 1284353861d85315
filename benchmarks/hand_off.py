"""What a parallel loop costs beside its work: `python -m benchmarks.hand_off --threads 2 4` prints a table.

Times the thread pool of compiled libraries with loops that do nothing. An empty loop that a library does not share is a
call; shared, it is offered to the workers and over as soon as nobody has any of it; and where each thread waits for the
last one to begin, it takes as long as it takes to have them all work. The workers are awake, as during a run.

Exit codes: 0 done; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from rich.console import Console
from tilewright import targets
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.targets.architectures import architecture_named
from tilewright.targets.host import available_cores
from tilewright.targets.toolchain import find_toolchain

from .report import table_head, table_row

COLUMNS = ("serial", "empty", "together")


@dataclass(frozen=True)
class Cost:
    """Nanoseconds of one loop, the fastest and the median of many."""

    fastest: float
    median: float


def measure(threads: Sequence[int], launches: int) -> dict[int, dict[str, Cost]]:
    """For each number of threads the costs of a serial loop, an empty one, and one in which all threads take part.

    Raises:
        ToolError: the program cannot be built.
    """
    target = targets.host()
    toolchain = find_toolchain(target.triple)
    runtime = resources.files("tilewright.compiler.emission") / "runtime"
    pause = architecture_named(target.arch).pause
    with temporary_folder() as folder:
        flags = ["-std=c11", "-O2", f"-I{runtime}", f"-DTILEWRIGHT_PAUSE={pause}"]
        source = Path(__file__).with_suffix(".c")
        toolchain.run([*toolchain.cc, *flags, str(source), "-o", "hand_off", "-lpthread"], folder)
        costs = {}
        for count in threads:
            command = [str(folder / "hand_off"), str(count), str(launches)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows = (line.split() for line in done.stdout.splitlines())
            costs[count] = {name: Cost(float(fastest), float(median)) for name, fastest, median in rows}
    return costs


def table(costs: dict[int, dict[str, Cost]]) -> str:
    """Markdown: a row for each number of threads."""
    lines = table_head(["threads", *(f"{name}, ns: fastest, median" for name in COLUMNS)])
    for count, row in costs.items():
        lines.append(table_row([str(count), *(f"{row[name].fastest:.0f}, {row[name].median:.0f}" for name in COLUMNS)]))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="benchmarks.hand_off", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="from 2 to the processors there are")
    parser.add_argument("--launches", type=int, default=200_000)
    options = parser.parse_args(arguments)
    if not all(2 <= count <= available_cores() for count in options.threads) or options.launches < 1000:
        parser.error(f"from 2 to {available_cores()} threads, and 1000 launches or more")
    Console().print(table(measure(options.threads, options.launches)), markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

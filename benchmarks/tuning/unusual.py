"""The tuner on layers that no default was made for: `python -m benchmarks.tuning.unusual` writes a Markdown page.

Each of twenty layers is searched twice: by measuring all of its choices, or a wide sample where there are more, and by
the tuner with at most so many measurements. The best of both are then measured again, in turns. A run that was stopped
goes on where it was.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tilewright.compiler.tuning.session import Limits, Progress
from tilewright.schedules.tuner.search import Sampling
from tilewright.targets import parse

from ..machine import this_machine
from ..measurement import write_file
from ..report import made_by, table_head, table_row
from .contest import best_choices, contest
from .layers import as_model, convolution, product
from .searching import say, search

LAYERS = (
    convolution(37, 29, 61, 3),
    convolution(53, 13, 101, 1),
    convolution(131, 17, 67, 3),
    convolution(2048, 7, 512, 1),
    convolution(512, 7, 2048, 1),
    convolution(24, 56, 24, 1),
    convolution(24, 28, 144, 1),
    convolution(144, 28, 24, 1),
    convolution(64, 28, 64, 3, dilation=2),
    convolution(96, 33, 96, 3, dilation=4),
    convolution(128, 28, 128, 3, groups=4),
    convolution(96, 14, 96, 3, groups=2),
    convolution(80, 40, 160, 3, stride=2),
    convolution(3, 96, 40, 7, stride=2),
    convolution(48, 57, 48, 5, stride=2, groups=48),
    product(1, 1000, 1280),
    product(7, 3072, 768),
    product(3001, 24, 96),
    product(197, 591, 197),
    product(13, 101, 4099),
)
FOLDER = Path("build/tuning/unusual")
_BEST = 3  # choices of the wide search that are measured again


@dataclass(frozen=True)
class Row:
    """A layer.

    Attributes:
        measured, wide: choices that the tuner and the wide search measured; `choices` there are.
        tuned, best: ratios to the default of the tuner's choice and of the best of all.
    """

    key: str
    choices: int
    wide: int
    measured: int
    tuned: float
    best: float

    @property
    def behind(self) -> float:
        """The tuner's time over the best."""
        return self.tuned / self.best


def run(folder: Path, wide: int, trials: int, threads: int) -> list[Row]:
    """Searches both ways and compares."""
    model = as_model(LAYERS)
    sampled = search(
        model,
        folder / "wide.jsonl",
        Limits(trials_of_each=wide, stops_early=False),
        threads=threads,
        title="wide",
        proposer=lambda target: Sampling(),
    )
    limits = Limits(trials_of_each=trials, stops_early=False)
    tuned = search(model, folder / "tuner.jsonl", limits, threads=threads, title="tuner")
    winners = best_choices(folder / "tuner.jsonl", 1)
    contestants = best_choices(folder / "wide.jsonl", _BEST)
    for key, names in winners.items():
        contestants[key] = [*contestants.get(key, []), *names]
    ratios = contest(model, contestants, folder / "contest.jsonl", threads=threads)
    return [_row(task.key, task.size, sampled, tuned, winners, ratios) for task in sampled.tasks]


def _row(
    key: str,
    choices: int,
    sampled: Progress,
    tuned: Progress,
    winners: dict[str, list[str]],
    ratios: dict[str, dict[str, float]],
) -> Row:
    tried = [next((task.tried for task in each.tasks if task.key == key), 0) for each in (sampled, tuned)]
    of_key = ratios.get(key, {})
    # A tuner that has nothing better keeps the default.
    own = min(1.0, of_key.get(winners[key][0], 1.0)) if key in winners else 1.0
    return Row(key, choices, tried[0], tried[1], own, min([1.0, *of_key.values()]))


def markdown(rows: Sequence[Row], threads: int, trials: int, command: str) -> str:
    """The page."""
    near = [sum(row.behind <= limit for row in rows) for limit in (1.05, 1.15)]
    return "\n".join(
        [
            "# Layers that no default was made for",
            "",
            f"{this_machine()}, {threads} threads. The tuner measures at most {trials} choices of a layer. Its choice "
            f"is within 5% of the best of the wide search on {near[0]} of {len(rows)}, within 15% on {near[1]}; the "
            f"worst is {max(row.behind for row in rows):.2f}. Ratios are to the default's time.",
            "",
            *table_head(("workload", "choices", "measured", "best of them", "tuner measured", "tuner's", "over best")),
            *(
                table_row(
                    (
                        f"`{row.key}`",
                        str(row.choices),
                        str(row.wide),
                        f"{row.best:.3f}",
                        str(row.measured),
                        f"{row.tuned:.3f}",
                        f"{row.behind:.3f}",
                    )
                )
                for row in sorted(rows, key=lambda row: -row.behind)
            ),
            "",
            *made_by(command),
        ]
    )


def main(arguments: Sequence[str]) -> int:
    """Measures and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning.unusual", description=__doc__)
    parser.add_argument("--wide", type=int, default=120, help="choices of a layer that the wide search measures")
    parser.add_argument("--trials", type=int, default=24, help="that the tuner measures at most")
    parser.add_argument("--threads", type=int, default=parse("host").cores)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the records")
    parser.add_argument("--out", type=Path, default=Path("build/tuning/unusual.md"))
    options = parser.parse_args(arguments)
    rows = run(options.folder, options.wide, options.trials, options.threads)
    command = shlex.join(["python", "-m", "benchmarks.tuning.unusual", *arguments])
    write_file(options.out, markdown(rows, options.threads, options.trials, command))
    say(f"{options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

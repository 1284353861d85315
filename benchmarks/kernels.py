"""How near each contraction is to its roofline: `python -m benchmarks.kernels resnet50` writes a Markdown page.

Every model is compiled for one thread and every kernel timed in many runs. The best run of a kernel counts, as the best
round does for the machine's peak: what neighbours on a shared machine take is not the kernel's loss.

Exit codes: 0 done; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tilewright
from rich.console import Console
from tilewright.compiler.measurement.bench import work_of
from tilewright.compiler.measurement.machine_peak import Peak, measured_peak
from tilewright.compiler.measurement.roofline import KernelTime, make_roofline
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.compiler.reports.report import amount

from .compare import UsageError, find_model
from .exporting import default_folder
from .machine import this_machine
from .measurement import write_file
from .models import GROUPS, expand
from .report import made_by, table_head, table_row

CONTRACTIONS = ("contraction", "dot_product", "winograd", "integer_winograd", "attention")


@dataclass(frozen=True)
class Kernel:
    """A kernel of a model, all its calls together.

    Attributes:
        sources: the nodes that its first call computes.
        share: of the model's time.
        reached: the roofline's share of the kernel's time.
        bound: what the roofline is: ``compute`` or a level of memory.
    """

    name: str
    template: str
    sources: str
    flops: int
    share: float
    reached: float
    bound: str


def kernels_of(rows: Iterable[KernelTime]) -> list[Kernel]:
    """The contractions among the steps of a model, the one that takes most time first."""
    steps = list(rows)
    whole = sum(step.seconds for step in steps)
    by_name: dict[str, list[KernelTime]] = {}
    for step in steps:
        if step.work.template in CONTRACTIONS and step.bound is not None:
            by_name.setdefault(step.work.kernel, []).append(step)
    found = []
    for name, calls in by_name.items():
        seconds = sum(call.seconds for call in calls)
        least = sum(call.bound.seconds for call in calls if call.bound is not None)
        work = calls[0].work
        sources = " + ".join(work.sources[0:3])
        found.append(
            Kernel(name, work.template, sources, work.flops, seconds / whole, least / seconds, str(calls[0].bound))
        )
    return sorted(found, key=lambda kernel: -kernel.share)


def measure(path: Path, runs: int) -> list[Kernel]:
    """Compiles a model, runs it so many times, and puts the best time of each kernel under the roofline."""
    with temporary_folder() as folder:
        library = tilewright.compile(path, output=folder / "model.so", threads=1)
        with np.load(path.with_suffix(".npz")) as stored:
            inputs = {spec.name: stored[spec.name] for spec in library.inputs}
        outputs = library.empty_outputs()
        times = zip(*(library.profile(inputs, outputs=outputs) for _ in range(runs)), strict=True)
        best = [min(nanoseconds) / 1e9 for nanoseconds in times]
        return kernels_of(make_roofline(zip(work_of(library.signature), best, strict=True), measured_peak(1)).kernels)


def page(machine: str, peak: Peak, models: dict[str, list[Kernel]], share: float, reached: float, command: str) -> str:
    """The Markdown page: how many kernels reach their roofline, and those that do not."""
    large = {name: [each for each in kernels if each.share >= share] for name, kernels in models.items()}
    low = [(name, each) for name, kernels in large.items() for each in kernels if each.reached < reached]
    levels = ", ".join(f"{level.name} {level.bytes_per_second / 1e9:.0f} GB/s" for level in peak.levels)
    return "\n".join(
        [
            "# Contractions under their roofline",
            "",
            f"{machine}. One thread: {peak.flops_per_second / 1e9:.0f} GFLOP/s, {levels}. FLOPs are those of the "
            "direct algorithm: Winograd's may reach more than 100%.",
            "",
            f"Of {sum(map(len, large.values()))} contraction kernels that take at least {share:.0%} of their model's "
            f"time, {len(low)} are below {reached:.0%}:",
            "",
            *table_head(("model", "kernel", "template", "FLOPs", "of the time", "reached", "of")),
            *(
                table_row(
                    (
                        name,
                        each.sources,
                        each.template,
                        amount(each.flops),
                        f"{each.share:.1%}",
                        f"{each.reached:.0%}",
                        each.bound,
                    )
                )
                for name, each in low
            ),
            "",
            "All of them, by model: kernels, and the least, the mean weighted by time, and the most that is reached:",
            "",
            *table_head(("model", "kernels", "least", "mean", "most")),
            *(table_row((name, str(len(kernels)), *_spread(kernels))) for name, kernels in large.items() if kernels),
            "",
            *made_by(command),
        ]
    )


def _spread(kernels: Sequence[Kernel]) -> list[str]:
    """The least that is reached, the roofline's share of the time of all, and the most."""
    reached = [each.reached for each in kernels]
    mean = sum(each.share * each.reached for each in kernels) / sum(each.share for each in kernels)
    return [f"{share:.0%}" for share in (min(reached), mean, max(reached))]


def main(arguments: Sequence[str]) -> int:
    """Measures the models named and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument(
        "names", nargs="*", help=f"benchmark models, {', '.join(GROUPS)}, or paths of ONNX files; default: all"
    )
    parser.add_argument("--models", type=Path, default=default_folder(), help="where exported models are kept")
    parser.add_argument("--runs", type=int, default=40, help="of each model; the best time of a kernel counts")
    parser.add_argument("--share", type=float, default=0.02, help="kernels below this share of the time are left out")
    parser.add_argument("--reached", type=float, default=0.85, help="kernels below this of the roofline are listed")
    parser.add_argument("--out", type=Path, default=Path("build/kernels.md"), help="the page")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    models: dict[str, list[Kernel]] = {}
    try:
        for name in expand(options.names):
            console.print(f"{name} ...")
            models[Path(name).stem] = measure(find_model(name, options.models), options.runs)
    except UsageError as error:
        console.print(f"error: {error}", style="red")
        return 2
    command = shlex.join(["python", "-m", "benchmarks.kernels", *arguments])
    text = page(str(this_machine()), measured_peak(1), models, options.share, options.reached, command)
    write_file(options.out, text)
    console.print(f"{options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

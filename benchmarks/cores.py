"""What models would take on many cores: `python -m benchmarks.cores resnet50 --cores 16` writes a Markdown page.

Every model is compiled for so many threads and simulated task by task (docs/benchmarks.md has the rule); where there
are as many processors it is measured in turns with that. Outputs must have the same bits with 1 to 64 threads,
simulated and real.

Exit codes: 0 done; 1 outputs of other bits; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tilewright
from rich.console import Console
from tilewright.compiler.library.artifact import Array, CompiledModel
from tilewright.compiler.measurement.simulated import SimulatedKernel, Simulation
from tilewright.compiler.measurement.simulation import simulate
from tilewright.compiler.process.temporary import temporary_folder
from tilewright.errors import EXIT_COMPARISON_FAILED

from .compare import UsageError, find_model
from .exporting import default_folder
from .machine import this_machine
from .measurement import write_file
from .models import MODELS
from .report import made_by, table_head, table_row

# Numbers of threads whose outputs are compared.
THREADS = (1, 2, 3, 4, 7, 8, 16, 64)


def measure(path: Path, cores: int, runs: int) -> tuple[Simulation, list[int]]:
    """Simulates a model on so many cores, and gives the numbers of threads with which outputs have other bits."""
    with temporary_folder() as folder:
        library = tilewright.compile(path, output=folder / "model.so", threads=cores)
        with np.load(path.with_suffix(".npz")) as stored:
            inputs = {spec.name: stored[spec.name] for spec in library.inputs}
        simulation = simulate(library, inputs, threads=cores, repeat=runs)
        return simulation, different_bits(library, inputs)


def different_bits(library: CompiledModel, inputs: Mapping[str, Array]) -> list[int]:
    """The numbers of threads, simulated or real, with which outputs differ from those of one."""
    library.set_num_threads(1)
    expected = [array.tobytes() for array in library.run(inputs).values()]
    found = []
    for threads in THREADS:
        library.set_num_threads(threads)
        for outputs in (library.run(inputs), library.simulate(inputs, threads)[0]):
            if [array.tobytes() for array in outputs.values()] != expected:
                found.append(threads)
    return sorted(set(found))


def page(machine: str, found: Mapping[str, tuple[Simulation, list[int]]], share: float, command: str) -> str:
    """The Markdown page: models, and the kernels that leave cores without work or lose most."""
    simulations = {name: simulation for name, (simulation, _) in found.items()}
    cores = next(iter(simulations.values())).threads
    wrong = {name: bits for name, (_, bits) in found.items() if bits}
    large = [
        (name, each)
        for name, simulation in simulations.items()
        for each in simulation.kernels
        if each.seconds >= share * simulation.seconds and (each.tasks < cores or each.speedup < cores / 2)
    ]
    return "\n".join(
        [
            f"# Models on {cores} simulated cores",
            "",
            f"{machine}. Each task of each parallel loop was run alone; the slowest of a loop counts, and a hand-off.",
            "",
            *table_head(("model", "ms, 1 thread", f"ms, {cores}", "faster", "measured ms", "hand-offs", "not shared")),
            *(table_row((name, *_total(each))) for name, each in simulations.items()),
            "",
            "Outputs have the same bits with "
            + ", ".join(map(str, THREADS))
            + " threads"
            + ("." if not wrong else f", but for {wrong}."),
            "",
            f"Kernels that take {share:.0%} of their model's time and more and leave cores without work, or are not "
            f"{cores // 2} times as fast:",
            "",
            *table_head(("model", "kernel", "template", "us, 1 thread", f"us, {cores}", "faster", "tasks", "balance")),
            *(table_row((name, *_cells(each))) for name, each in large),
            "",
            *made_by(command),
        ]
    )


def _total(simulation: Simulation) -> tuple[str, ...]:
    whole = simulation.seconds
    hand_offs = sum(kernel.hand_off for kernel in simulation.kernels)
    serial = sum(kernel.shared.serial for kernel in simulation.kernels)
    measured = "-" if simulation.measured is None else f"{simulation.measured * 1e3:.3f}"
    return (
        *(f"{seconds * 1e3:.3f}" for seconds in (simulation.alone, whole)),
        f"{simulation.speedup:.1f}",
        measured,
        *(f"{seconds / whole:.0%}" for seconds in (hand_offs, serial)),
    )


def _cells(kernel: SimulatedKernel) -> tuple[str, ...]:
    return (
        " + ".join(kernel.work.sources[:3]),
        kernel.work.template,
        *(f"{seconds * 1e6:.1f}" for seconds in (kernel.alone, kernel.seconds)),
        f"{kernel.speedup:.1f}",
        str(kernel.tasks),
        "-" if kernel.balance is None else f"{kernel.balance:.0%}",
    )


def main(arguments: Sequence[str]) -> int:
    """Simulates the models named and writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cores", description=__doc__)
    parser.add_argument("names", nargs="*", help="models of the harness, or paths of ONNX files; default: all")
    parser.add_argument("--cores", type=int, default=16, help="how many, from 2")
    parser.add_argument("--models", type=Path, default=default_folder(), help="where exported models are kept")
    parser.add_argument("--runs", type=int, default=20, help="of each model")
    parser.add_argument("--share", type=float, default=0.02, help="kernels below this share of the time are left out")
    parser.add_argument("--out", type=Path, default=Path("build/cores.md"), help="the page")
    options = parser.parse_args(arguments)
    console = Console(stderr=True)
    if not 2 <= options.cores <= 256:
        console.print("error: --cores takes 2 to 256", style="red")
        return 2
    found: dict[str, tuple[Simulation, list[int]]] = {}
    try:
        for name in options.names or MODELS:
            console.print(f"{name} ...")
            found[Path(name).stem] = measure(find_model(name, options.models), options.cores, options.runs)
    except UsageError as error:
        console.print(f"error: {error}", style="red")
        return 2
    command = shlex.join(["python", "-m", "benchmarks.cores", *arguments])
    write_file(options.out, page(str(this_machine()), found, options.share, command))
    console.print(f"{options.out}")
    return EXIT_COMPARISON_FAILED if any(bits for _, bits in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

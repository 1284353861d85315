"""`bench`: how long a library, its kernels and other engines take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ..library.signature import check_threads
from ..process.install import check_place, written_whole
from ..process.progress import Timeline, shown
from ..reports.report import Table, show, show_json, size
from .command_options import (
    At,
    Binds,
    Device,
    Inputs,
    Json,
    Library,
    Seed,
    Threads,
    read_bindings,
    read_inputs,
)
from .opened_libraries import open_there

if TYPE_CHECKING:
    from ..library.artifact import CompiledModel
    from ..measurement.bench import Latency
    from ..measurement.roofline import Roofline
    from ..runners.runner import Library as AnyLibrary


_PROFILED_RUNS = 20  # of each kernel, with a clock read between them


def bench(
    library: Library,
    threads: Threads = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", min=1, help="Counted runs of each engine.")] = 50,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time each kernel under the machine's measured roofline.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the kernels as a page with plots and a table."),
    ] = None,
    simulate_threads: Annotated[
        int | None,
        typer.Option("--simulate-threads", metavar="N", help="The time of each kernel on N cores, worked out on one."),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="LIST",
            help="onnxruntime,openvino, which need --model; or files: other libraries of the model.",
        ),
    ] = "",
    model: Annotated[Path | None, typer.Option("--model", metavar="MODEL", help="What the other engines run.")] = None,
    tensors: Inputs = None,
    device: Device = None,
    bind: Binds = None,
    seed: Seed = 0,
    at: At = None,
    as_json: Json = False,
) -> None:
    """Time a library, its kernels, and other engines in the same run, taking turns.

    With --kernels each kernel has its FLOPs, bytes, the bound that the machine's measured peak and bandwidths set it,
    how much of that it reached, and the nodes it came from; what loses most time comes first. FLOPs are those of the
    direct algorithm, so that a kernel that needs fewer of them may reach more than 100%. Of a library for a range of
    sizes FLOPs and bytes are known at the largest.

    With --simulate-threads the time on N cores is worked out on a machine with fewer: each task of each parallel loop
    runs alone, one after another, and the slowest of a loop counts, with the hand-off measured here, and at least the
    time in which N cores move a kernel's bytes. Compile for as many threads, so that the work is cut for them. Where
    there are N processors the run is measured, too. Outputs of other bits than a usual run's are an error.

    Examples:

    * `tilewright bench model.so --threads 1 --kernels`
    * `tilewright compile model.onnx -o model.so --threads 16; tilewright bench model.so --simulate-threads 16`
    * `tilewright bench model.so --html roofline.html`
    * `tilewright bench model.so --against onnxruntime,openvino --model model.onnx`
    * `tilewright bench new.so --against old.so`
    """
    from ..measurement import bench as timing
    from ..measurement.simulation import simulate

    if device is not None and (kernels or html is not None or simulate_threads is not None):
        raise UsageError("kernels are timed here", where="--device", hint="leave out --kernels, --html and the like")
    if html is not None:
        check_place(html, keep=[library, model])
    loaded, runner = open_there(library, threads, device)
    if simulate_threads is not None:
        check_threads(simulate_threads, where="--simulate-threads")
    others = [name for name in against.split(",") if name]
    rivals = {name: open_there(Path(name), threads, device)[0] for name in others if _names_a_file(name)}
    values = read_inputs(loaded, tensors, random_inputs=True, seed=seed, model=model, at_values=at)
    with shown(f"timing {library.name}", Timeline()) as progress:
        progress("latency", 0, 0)
        latencies = timing.measure(
            loaded,
            values,
            repeat=repeat,
            against=[name for name in others if name not in rivals],
            source=model,
            bindings=read_bindings(bind),
            threads=threads or 0,
            runner=runner,
            rivals=rivals,
        )
        roofline = None
        if kernels or html is not None:
            runs = min(repeat, _PROFILED_RUNS)
            roofline = timing.profile(_here(loaded), values, repeat=runs, threads=threads or 0, progress=progress)
        simulation = None
        if simulate_threads is not None:
            runs = min(repeat, _PROFILED_RUNS)
            simulation = simulate(_here(loaded), values, threads=simulate_threads, repeat=runs, progress=progress)
        if html is not None and roofline is not None:
            progress("page", 0, 0)
            _save_page(html, _here(loaded), latencies, roofline)
    if html is not None:
        typer.echo(f"{html}: {size(html.stat().st_size)}, open it in a browser", err=True)
    if as_json:
        simulated = simulation.to_json() if simulation is not None else {}
        show_json({**timing.to_json(latencies, roofline), **simulated})
        return
    table = Table(("engine", ">median ms", ">min ms", ">p90 ms", ">ours / theirs"))
    for each in latencies:
        ratio = "" if each.engine == timing.OURS else f"{latencies[0].median_ms / each.median_ms:.3f}"
        table.add(each.engine, f"{each.median_ms:.3f}", f"{each.min_ms:.3f}", f"{each.p90_ms:.3f}", ratio)
    show(table)
    if kernels and roofline is not None:
        from ..reports.roofline_tables import roofline_parts

        show(*roofline_parts(roofline))
    if simulation is not None:
        from ..reports.simulation_tables import simulation_parts

        show(*simulation_parts(simulation))


def _names_a_file(name: str) -> bool:
    """Whether what is run against is a library, and no engine; a folder may have an engine's name."""
    from ..verification.reference_engines import ENGINES

    return name not in ENGINES and (Path(name).suffix != "" or len(Path(name).parts) > 1 or Path(name).exists())


def _here(library: AnyLibrary) -> CompiledModel:
    """The library, loaded by this process: it is not for a device."""
    from ..library.artifact import CompiledModel

    assert isinstance(library, CompiledModel)
    return library


def _save_page(path: Path, loaded: CompiledModel, latencies: list[Latency], roofline: Roofline) -> None:
    from datetime import datetime

    from ...targets.host import read_host
    from ..reports.bench_page import render

    page = render(
        loaded.signature, roofline, latencies, library=loaded.path.name, host=read_host(), measured_at=datetime.now()
    )
    with written_whole(path) as file:
        # A name that is no valid Unicode is shown with question marks.
        file.write(page.encode("utf-8", "replace"))

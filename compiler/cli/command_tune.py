"""`tune`: searches for faster schedules of a model on this machine, and shows how it goes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError
from ..process import interrupt
from ..process.install import written_whole
from ..process.places import output_errors
from ..reports.report import show, show_json
from .command_options import (
    Binds,
    CompiledThreads,
    Cpu,
    Features,
    Jobs,
    Json,
    Model,
    Precision,
    Quantize,
    RecipeFile,
    Shapes,
    Target,
    compile_options,
    quantization,
)

if TYPE_CHECKING:
    from ..tuning.session import Progress

    Tell = Callable[[Progress], None]


def tune(
    model: Model,
    records: Annotated[
        Path | None,
        typer.Option("--records", metavar="FILE.jsonl", help="Results are appended; it is read first."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="N", help="Time to spend. [default: until little is to be won]")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", metavar="N", help="Choices to measure.")] = None,
    threads: CompiledThreads = None,
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    shape: Shapes = None,
    bind: Binds = None,
    precision: Precision = "fp32",
    recipe: RecipeFile = None,
    quantize: Quantize = None,
    jobs: Jobs = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="PLACE",
            help="Measure there: cuda (a GPU of this machine), rpc:HOST:PORT/KEY, ssh:USER@HOST, exec:COMMAND, qemu. "
            "Several share the work.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    list_only: Annotated[bool, typer.Option("--list", help="Count the choices of each workload, and stop.")] = False,
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FILE.jsonl", help="Write the best records alone, and stop.")
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page: curves, and where the time went.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search for faster schedules of a model, on this machine or on devices.

    Every distinct kernel is compiled and measured with other tiles, blocks and algorithms than those that are computed
    for the machine. Ctrl-C keeps what was found; the same command goes on where it was stopped.

    Examples:

    * `tilewright tune model.onnx --records tuned.jsonl --seconds 120`
    * `tilewright compile model.onnx -o model.so --records tuned.jsonl`
    * `tilewright tune model.onnx --records tuned.jsonl --export best.jsonl`
    * `tilewright tune model.onnx --records tuned.jsonl --target TRIPLE --device rpc:HOST:9190/rpi4`
    * `tilewright tune model.onnx --records tuned.jsonl --device cuda --precision fp16`
    """
    from ..reports import tuning_report
    from ..tuning import run

    options = compile_options(
        target, cpu, features, shape, bind, precision, threads, jobs, **quantization(recipe, quantize)
    )
    options, devices = run.placed(options, device or ())
    if list_only:
        tasks = run.spaces(model, options)
        show_json(tuning_report.spaces_json(tasks)) if as_json else show(tuning_report.spaces_table(tasks))
        return
    if records is None:
        raise UsageError("there is no place for results", where="--records", hint="--records tuned.jsonl")
    if export is not None:
        show(f"{export}: {run.export(records, export)} records")
        return
    with interrupt.temporary_folder(), _live(model.name) as tell:
        found = run.tune(
            model,
            records,
            options,
            seconds=seconds,
            trials=trials,
            seed=seed,
            devices=devices,
            tell=tell,
            warn=lambda text: typer.echo(f"warning: {text}", err=True),
        )
    if html is not None:
        from ..reports.tuning_page import render

        with output_errors(html), written_whole(html) as file:
            file.write(render(model.name, found).encode())
    if as_json:
        show_json(tuning_report.to_json(found))
    else:
        show(*tuning_report.tables(found), f"{records}: used by tilewright compile --records {records}")


@contextmanager
def _live(title: str) -> Iterator[Tell]:
    """Shows how it goes: on a terminal a table that moves, else a line for each generation."""
    from ..reports import tuning_report

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.live import Live

        with Live(console=Console(stderr=True), transient=True, refresh_per_second=4) as live:
            yield lambda progress: live.update(tuning_report.live_table(title, progress))
        return
    generation = 0

    def line(progress: Progress) -> None:
        nonlocal generation
        if progress.generation > generation or not progress.generation:
            generation = progress.generation
            print(f"  {tuning_report.headline(progress)}", file=sys.stderr, flush=True)

    yield line

"""`optimize`: searches what is done to each layer of a model, and writes the recipe of the best point of the front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ComparisonError, UsageError
from ..optimization.api import SUFFIX
from ..optimization.api import optimize as searched
from ..process import interrupt
from ..process.install import written_whole
from ..process.places import check_output, make_folders, output_errors
from ..process.progress import Timeline, shown
from ..reports.report import show, show_json
from .command_options import (
    Binds,
    Calibration,
    CompiledThreads,
    Cpu,
    Device,
    Features,
    Image,
    Json,
    Labels,
    MetricOption,
    Model,
    RecipeOutput,
    Shapes,
    Target,
    compile_options,
)
from .tensor_options import read_labels

if TYPE_CHECKING:
    from ..optimization.request import Optimized
    from ..options import CompileOptions


def optimize(
    model: Model,
    output: RecipeOutput,
    calibration: Calibration = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="LIMIT",
            help="accuracy=-0.5 (points of the metric), latency=0.5x or size=0.25x (of the float model's); repeatable.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds",
            metavar="N",
            help="Time of all runs of this search together. [default: until little is to be won]",
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--try", metavar="LIST", help="What is tried: int8,bf16,rank,zeros,weights,channels. [default: all]"
        ),
    ] = None,
    labels: Labels = None,
    metric: MetricOption = None,
    image: Image = None,
    point: Annotated[
        int | None,
        typer.Option("--point", metavar="N", min=1, help="Write the recipe of this point of the front; no search."),
    ] = None,
    search: Annotated[
        Path | None,
        typer.Option("--search", metavar="FOLDER", help="What is known, and kept. [default: beside the recipe]"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PAGE.html", help="Write a page with plots of the front.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the search.")] = 0,
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    shape: Shapes = None,
    bind: Binds = None,
    threads: CompiledThreads = None,
    jobs: Annotated[int, typer.Option("--jobs", metavar="N", min=1, help="Processes that try networks.")] = 1,
    device: Device = None,
    cluster: Annotated[
        str | None,
        typer.Option("--cluster", metavar="ADDRESS", help="Try networks on the workers of dask://HOST:PORT instead."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Search what is done to each layer of a model: bits, ranks, zeros, channels; and write a recipe within a budget.

    Every treatment of every layer is measured once. An exact solver finds the front of these measurements; networks on
    it and near it are compiled, run on samples that nothing was fitted on, and timed. Needs no labels. What is known
    is kept in a folder beside the recipe: Ctrl-C loses nothing, the same command goes on, and repeated finds the same.

    Examples:

    * `tilewright optimize net.onnx --calibration samples.npz --budget accuracy=-0.5 --seconds 600 -o small.json`
    * `tilewright optimize net.onnx --calibration samples.npz --budget latency=0.5x --budget size=0.5x -o small.json`
    * `tilewright optimize net.onnx --point 3 -o small.json --report front.html`
    * `tilewright compile net.onnx --recipe small.json -o small.so`
    """
    from ..reports import optimization_report

    options = compile_options(target, cpu, features, shape, bind, "fp32", threads, None)
    for place in (output, report):
        if place is not None:
            check_output(place, model)
    make_folders(output, None, None)
    if point is not None:
        found = _point(model, options, point, budget or (), metric, search or output.with_suffix(SUFFIX), output)
    else:
        if calibration is None:
            raise UsageError("samples are needed", where="--calibration", hint="--point N takes what was found before")
        given = None if labels is None else read_labels(labels)
        with interrupt.temporary_folder(), shown(f"optimizing {model.name}", Timeline()) as progress:
            found = searched(
                model,
                calibration,
                budget=budget or (),
                output=output,
                search=search,
                seconds=seconds,
                kinds=kinds.split(",") if kinds else (),
                labels=given,
                metric=metric,
                images=image or "",
                options=options,
                seed=seed,
                jobs=jobs,
                device=device,
                cluster=cluster,
                progress=progress,
            )
    if report is not None:
        from ..reports.optimization_page import render

        with output_errors(report), written_whole(report) as file:
            file.write(render(found).encode())
    if as_json:
        show_json(optimization_report.to_json(found))
    else:
        show(*optimization_report.tables(found), f"{output}: used by tilewright compile --recipe {output}")
    if point is None:
        _check(found, output)


def _point(
    model: Path,
    options: CompileOptions,
    point: int,
    budget: Sequence[str],
    metric: str | None,
    search: Path,
    output: Path,
) -> Optimized:
    """Writes the recipe of a point of what an earlier search found; returns all of that."""
    from ... import frontends
    from ..evaluation.metrics import metric_of
    from ..extents.ranges import static_shapes
    from ..optimization.budget import parse_budgets
    from ..optimization.optimize import known
    from ..recipes.files import write_recipe

    opened = frontends.open(model, frontends.Request(shapes=static_shapes(options)))
    found = known(opened, parse_budgets(budget) if budget else None, metric_of(metric), search)
    if point > len(found.front):
        raise UsageError(f"the front has {len(found.front)} points", where=f"--point {point}")
    write_recipe(found.recipe(found.front[point - 1]), output)
    return found


def _check(found: Optimized, output: Path) -> None:
    if found.excess:
        raise ComparisonError(
            "no network within the budget was found",
            where=str(output),
            hint="the recipe is that of the nearest; the table shows the others, and more --seconds may find more",
        )

"""`optimize`: searches what is done to each layer of a model, and writes the recipe of the best point of the front."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ComparisonError, UsageError
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
from .tensor_options import read_array

if TYPE_CHECKING:
    from ..optimization.request import Optimized

_FOLDER = ".search"  # what stands beside the recipe


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
        typer.Option("--seconds", metavar="N", help="Time of the whole search. [default: until little is to be won]"),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(
            "--try", metavar="LIST", help="What is tried: int8,bf16,weights,zeros,rank,channels. [default: all]"
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
    from ... import frontends
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import samples_of
    from ..calibration.tapped import input_specs
    from ..evaluation.metrics import metric_of
    from ..extents.ranges import static_shapes
    from ..optimization.budget import parse_budgets
    from ..optimization.cluster import check_cluster, cluster_crew
    from ..optimization.data import data_of
    from ..optimization.optimize import known
    from ..optimization.optimize import optimize as searched
    from ..optimization.request import Request
    from ..optimization.treatments import checked_kinds
    from ..recipes.files import write_recipe
    from ..reports import optimization_report

    folder = search or output.with_suffix(_FOLDER)
    options = compile_options(target, cpu, features, shape, bind, "fp32", threads, None)
    for place in (output, report):
        if place is not None:
            check_output(place, model)
    make_folders(output, None, None)
    if cluster is not None:
        check_cluster(cluster)
    given = None if labels is None else read_array(labels, "labels")
    judged = metric_of(metric)
    opened = frontends.open(model, frontends.Request(shapes=static_shapes(options)))
    if point is not None:
        found, parts = known(opened, parse_budgets(budget) if budget else None, judged, folder)
        if point > len(found.front):
            raise UsageError(f"the front has {len(found.front)} points", where=f"--point {point}")
        write_recipe(parts.recipe(found.front[point - 1].candidate), output)
    else:
        if calibration is None:
            raise UsageError("samples are needed", where="--calibration", hint="--point N takes what was found before")
        asked = Request(
            parse_budgets(budget or ()),
            judged,
            options,
            checked_kinds(kinds),
            seconds,
            seed,
            jobs,
            device,
            crew=None if cluster is None else partial(cluster_crew, address=cluster),
        )
        images = parse_preprocessing(image) if image is not None else None
        with interrupt.temporary_folder(), shown(f"optimizing {model.name}", Timeline()) as progress:
            data = data_of(samples_of(calibration, input_specs(opened, options), images), given)
            found = searched(opened, data, asked, output, folder, progress)
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


def _check(found: Optimized, output: Path) -> None:
    if found.excess:
        raise ComparisonError(
            "no network within the budget was found",
            where=str(output),
            hint="the recipe is that of the nearest; the table shows the others, and more --seconds may find more",
        )

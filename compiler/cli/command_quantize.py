"""`quantize`: finds from data how a model becomes one of 8-bit integers, and shows what that costs and wins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..calibration.limits import LEAST_OF_A_LAYER
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
    Features,
    Image,
    Jobs,
    Json,
    Model,
    RecipeOutput,
    Shapes,
    Target,
    compile_options,
)

_STATE = ".calibration.npz"  # what stands beside the recipe until it is written


def quantize(
    model: Model,
    output: RecipeOutput,
    calibration: Calibration = None,
    weights_only: Annotated[
        str | None,
        typer.Option(
            "--weights-only", metavar="BITS", help="Weights of dense layers alone, as int8 or int4; needs no samples."
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Dense layers in int8, with scales at run time; needs no samples.")
    ] = False,
    bits: Annotated[int, typer.Option("--bits", min=2, max=8, help="Of activations and weights.")] = 8,
    granularity: Annotated[
        str, typer.Option("--granularity", metavar="KIND", help="What shares a scale of weights: channel or tensor.")
    ] = "channel",
    keep_float: Annotated[
        list[str] | None, typer.Option("--keep-float", metavar="LAYER", help="A layer that stays float. Repeatable.")
    ] = None,
    least_decibels: Annotated[
        float,
        typer.Option("--least-db", metavar="DB", help="Layers whose own signal to noise is less stay float."),
    ] = LEAST_OF_A_LAYER,
    image: Image = None,
    correct: Annotated[
        list[str] | None,
        typer.Option(
            "--correct",
            metavar="WHAT",
            help="What is corrected where that lowers the error, if not all of it: channels, rounding, biases. "
            "Repeatable.",
        ),
    ] = None,
    no_correct: Annotated[bool, typer.Option("--no-correct", help="Correct nothing.")] = False,
    details: Annotated[bool, typer.Option("--details/--no-details", help="Measure the error of each layer.")] = True,
    export_onnx: Annotated[
        Path | None,
        typer.Option("--export-onnx", metavar="Q.onnx", help="Write a QDQ model, too, that other runtimes take."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="PAGE.html", help="Write a page on every layer.")
    ] = None,
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    shape: Shapes = None,
    bind: Binds = None,
    threads: CompiledThreads = None,
    jobs: Jobs = None,
    as_json: Json = False,
) -> None:
    """Find how a model is quantized, from samples of its inputs, and what that costs in accuracy.

    The recipe is what `compile --quantize` takes. It can be read and edited. Ctrl-C keeps what was calibrated: the same
    command goes on where it was stopped.

    Examples:

    * `tilewright quantize net.onnx --calibration samples.npz -o net.json --report net.html`
    * `tilewright quantize net.onnx --calibration photos/ --image crop=224,mean=0.485:0.456:0.406 -o net.json`
    * `tilewright quantize gpt2.onnx --weights-only int4 --calibration prompts.npz -o gpt2.json`
    * `tilewright compile net.onnx -o net.so --quantize net.json`
    """
    from ..calibration.samples import check_path
    from ..recipes.dense import WAYS, way_of

    way = way_of(weights_only, dynamic, has_samples=calibration is not None)
    if calibration is not None:
        check_path(calibration)  # what loads TVM comes later
    from ... import frontends
    from ..calibration.as_compiled import as_compiled
    from ..calibration.correct import corrections_of
    from ..calibration.dense import quantize_dense
    from ..calibration.images import parse_preprocessing
    from ..calibration.quantize import quantize as found_for
    from ..calibration.request import Request
    from ..extents.ranges import static_shapes
    from ..recipes.files import write_recipe
    from ..recipes.quantized_onnx import export_quantized
    from ..recipes.sections import GRANULARITIES, check_option
    from ..reports import quantization_report

    request = Request(
        options=compile_options(target, cpu, features, shape, bind, "fp32", threads, jobs),
        bits=bits,
        granularity=check_option("granularity", granularity, GRANULARITIES),
        keep_float=tuple(keep_float or ()),
        least_decibels=least_decibels,
        corrections=corrections_of(tuple(correct) if correct else not no_correct),
        details=details,
        images=parse_preprocessing(image) if image is not None else None,
        state=output.with_name(output.name + _STATE),
    )
    for place in (output, export_onnx, report):
        if place is not None:
            check_output(place, model)
    make_folders(output, None, None)
    opened = frontends.open(model, frontends.Request(shapes=static_shapes(request.options)))
    with interrupt.temporary_folder(), shown(f"quantizing {model.name}", Timeline()) as progress:
        if way is None:
            found = found_for(opened, calibration, request, progress)
        else:
            found = quantize_dense(opened, WAYS[way], calibration, request, progress)
        write_recipe(found.recipe, output)
        if export_onnx is not None:
            recipe = found.recipe  # with ranges, what is one kernel of floats on every machine has no pairs
            whole = as_compiled(opened, recipe, request.options, always=True) if recipe.tensors else recipe
            export_quantized(opened, whole, export_onnx)
    if report is not None:
        from ..reports.quantization_page import render

        with output_errors(report), written_whole(report) as file:
            file.write(render(found).encode())
    if as_json:
        show_json(quantization_report.to_json(found))
    else:
        show(*quantization_report.tables(found), f"{output}: used by tilewright compile --quantize {output}")

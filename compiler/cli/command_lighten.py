"""`lighten`: a recipe that makes weights of a model zero, or layers of it low rank, and fits what is left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ..options import CompileOptions
from ..process import interrupt
from ..process.places import check_output, make_folders
from ..process.progress import Timeline, shown
from ..recipes.recipe import RankEntry, SparsityEntry
from ..reports.report import Table, show, show_json
from .command_options import Cpu, Image, Json, Model, Shapes, Target
from .tensor_options import parse_shapes

if TYPE_CHECKING:
    from ..compression.lighten import Lighter


def lighten(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RECIPE", help="The recipe, a .json file.")],
    weights: Annotated[
        float | None, typer.Option("--weights", metavar="RATE", help="The share of weights that become zero: 0.9.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help="Where zeros may stand: unstructured, 4x1 (output channels by inputs), 2:4. "
            "[default: a vector of the target by 1]",
        ),
    ] = None,
    low_rank: Annotated[
        float | None,
        typer.Option(
            "--low-rank",
            metavar="ERROR",
            help="Layers become products of a lower rank that lose at most so much of their outputs, where that pays.",
        ),
    ] = None,
    layer: Annotated[
        list[str] | None, typer.Option("--layer", metavar="NAME", help="A layer to change. [default: all large ones]")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration", metavar="DATA", help="Samples: an .npz or .npy file, an image, or a folder of them."
        ),
    ] = None,
    image: Image = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="How many of them are used at most.")] = 500,
    criterion: Annotated[
        str,
        typer.Option("--criterion", metavar="NAME", help="By what weights are chosen: second-order, magnitude."),
    ] = "second-order",
    target: Target = "host",
    cpu: Cpu = None,
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Make weights of a model zero, or layers low rank, and write the recipe that `compile --recipe` takes.

    Kernels for weights that are mostly zeros are used where they are faster. Needs samples of inputs, no labels.

    Examples:

    * `tilewright lighten net.onnx --weights 0.9 --calibration samples.npz -o sparse.json`
    * `tilewright lighten net.onnx --low-rank 0.05 --calibration samples.npz -o thin.json`
    * `tilewright compile net.onnx --recipe sparse.json -o sparse.so`
    """
    from ... import frontends
    from ..build import target_of
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import samples_of
    from ..calibration.tapped import input_specs
    from ..compression.costs import cycles_on
    from ..compression.lighten import Lightening
    from ..compression.lighten import lighten as lightened
    from ..recipes.files import write_recipe

    shapes, machine = parse_shapes(shape or ()), target_of(CompileOptions(target=target, cpu=cpu))
    chosen = pattern or f"{machine.lanes()}x1"
    asked = Lightening(weights, chosen, low_rank, tuple(layer or ()), criterion, samples)
    if calibration is None and asked.needs_samples:
        raise UsageError("samples are needed", where="--calibration", hint="--criterion magnitude does without them")
    check_output(output, model)
    make_folders(output, None, None)
    here = CompileOptions(shapes=shapes)
    images = parse_preprocessing(image) if image is not None else None
    with interrupt.temporary_folder(), shown(f"lightening {model.name}", Timeline()) as progress:
        opened = frontends.open(model, frontends.Request(shapes=shapes))
        given = () if calibration is None else samples_of(calibration, input_specs(opened, here), images)
        lighter = lightened(opened, given, asked, here, progress, cycles_on(machine))
        write_recipe(lighter.recipe, output)
    found = _facts(lighter)
    if as_json:
        show_json(found)
    else:
        show(*_tables(found))


def _facts(lighter: Lighter) -> dict[str, Any]:
    layers = {}
    for name, each in lighter.layers.items():
        layers[name] = {**_said(each.section), "weights": list(each.weights), "errors": dict(each.errors)}
    return {"kind": "lightening", "output_error": dict(lighter.errors), "layers": layers}


def _said(section: SparsityEntry | RankEntry) -> dict[str, Any]:
    if isinstance(section, SparsityEntry):
        return {"pattern": section.pattern, "rate": section.rate}
    return {"rank": list(section.ranks)}


def _tables(found: dict[str, Any]) -> list[str | Table]:
    stages = list(dict.fromkeys(stage for each in found["layers"].values() for stage in each["errors"]))
    layers = Table(
        ("layer", "made", ">weights", ">left", *(f">{stage}" for stage in stages)),
        "layers that changed, and what their outputs on the samples lose",
    )
    for name, each in found["layers"].items():
        before, left = each["weights"]
        made = f"rank {' and '.join(map(str, each['rank']))}" if "rank" in each else f"{each['pattern']} zeros"
        errors = (f"{each['errors'][stage]:.2%}" if stage in each["errors"] else "" for stage in stages)
        layers.add(name, made, before, f"{left / before:.0%}", *errors)
    outputs = [
        f"outputs on the samples, {stage}: {error:.2%} from the model's own"
        for stage, error in found["output_error"].items()
    ]
    return [layers, *outputs] if found["layers"] else ["no layer changed: none is faster within the error"]

"""`prune`: a recipe that makes a model's layers narrower, and fits what is left to what they made before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import UsageError
from ..options import CompileOptions
from ..process import interrupt
from ..process.places import check_output, make_folders
from ..process.progress import Timeline, shown
from ..reports.report import Table, amount, show, show_json
from .command_options import Cpu, Image, Json, Model, Shapes, Target
from .tensor_options import parse_shapes

if TYPE_CHECKING:
    from ..compression.prune import Pruned


def prune(
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="RECIPE", help="The recipe, a .json file.")],
    channels: Annotated[
        float | None,
        typer.Option("--channels", metavar="RATE", help="The share of channels that goes, of every group: 0.5."),
    ] = None,
    work: Annotated[
        float | None,
        typer.Option(
            "--work", metavar="SHARE", help="The share of the layers' FLOPs that is left; the least missed channels go."
        ),
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
        typer.Option("--criterion", metavar="NAME", help="Which channels are missed least: second-order, magnitude."),
    ] = "second-order",
    recovery: Annotated[
        bool, typer.Option("--recovery/--no-recovery", help="Fit the layers to what they made before.")
    ] = True,
    round_to: Annotated[
        int | None,
        typer.Option(
            "--round-to",
            metavar="N",
            help="Leave multiples of N channels. [default: a vector of the target]",
        ),
    ] = None,
    target: Target = "host",
    cpu: Cpu = None,
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Cut channels of a model that are missed least, and write the recipe that `compile --recipe` takes.

    `tilewright inspect --channels` shows what goes together and what cannot go. Needs samples of inputs, no labels.

    Examples:

    * `tilewright prune net.onnx --work 0.5 --calibration samples.npz -o half.json`
    * `tilewright compile net.onnx --recipe half.json -o half.so`
    * `tilewright prune net.onnx --channels 0.3 --criterion magnitude --no-recovery -o narrow.json`
    """
    from ... import frontends
    from ..build import target_of
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import samples_of
    from ..calibration.tapped import input_specs
    from ..compression.prune import Pruning
    from ..compression.prune import prune as pruned_model
    from ..recipes.files import write_recipe

    shapes = parse_shapes(shape or ())
    lanes = target_of(CompileOptions(target=target, cpu=cpu)).lanes()
    asked = Pruning(channels, work, criterion, recovery, round_to or lanes, samples)
    if calibration is None and asked.needs_samples:
        raise UsageError(
            "samples are needed",
            where="--calibration",
            hint="--criterion magnitude --no-recovery does without them",
        )
    check_output(output, model)
    make_folders(output, None, None)
    here = CompileOptions(shapes=shapes)
    images = parse_preprocessing(image) if image is not None else None
    with interrupt.temporary_folder(), shown(f"pruning {model.name}", Timeline()) as progress:
        opened = frontends.open(model, frontends.Request(shapes=shapes))
        given = () if calibration is None else samples_of(calibration, input_specs(opened, here), images)
        pruned = pruned_model(opened, given, asked, here, progress)
        write_recipe(pruned.recipe, output)
    found = _facts(pruned)
    if as_json:
        show_json(found)
    else:
        show(*_tables(found))


def _facts(pruned: Pruned) -> dict[str, Any]:
    return {
        "kind": "pruning",
        "flops": list(pruned.flops),
        "weights": list(pruned.weights),
        "output_error": dict(pruned.errors),
        "layers": {name: list(channels) for name, channels in pruned.layers.items()},
    }


def _tables(found: dict[str, Any]) -> list[str | Table]:
    layers = Table(("layer", ">channels", ">left", ">share"), "output channels of layers that lose some")
    for name, (before, after) in found["layers"].items():
        if after < before:
            layers.add(name, before, after, f"{after / before:.0%}")
    flops, weights = found["flops"], found["weights"]
    return [
        layers,
        f"FLOPs of layers: {amount(flops[0])} before, {amount(flops[1])} left ({flops[1] / max(1, flops[0]):.1%})",
        f"weights of layers: {amount(weights[0])} before, {amount(weights[1])} left "
        f"({weights[1] / max(1, weights[0]):.1%})",
        *(
            f"outputs on the samples, {stage}: {error:.2%} from the model's own"
            for stage, error in found["output_error"].items()
        ),
    ]

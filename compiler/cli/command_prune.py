"""`prune`: a recipe that makes a model's layers narrower, sparser or of lower rank, and fits what is left."""

from __future__ import annotations

from typing import Annotated

import typer

from ...errors import UsageError
from ..options import CompileOptions
from ..process import interrupt
from ..process.places import check_output, make_folders
from ..process.progress import Timeline, shown
from ..reports.report import show, show_json
from .command_options import Calibration, Cpu, Image, Json, Model, RecipeOutput, Shapes, Target
from .tensor_options import fixed_shapes


def prune(
    model: Model,
    output: RecipeOutput,
    channels: Annotated[
        float | None,
        typer.Option("--channels", metavar="RATE", help="The share of channels that goes, of every group: 0.3."),
    ] = None,
    work: Annotated[
        float | None,
        typer.Option(
            "--work", metavar="SHARE", help="The share of the layers' FLOPs that is left; the least missed channels go."
        ),
    ] = None,
    heads: Annotated[
        float | None,
        typer.Option(
            "--heads", metavar="RATE", help="The share of heads that goes, of every attention. [as --channels]"
        ),
    ] = None,
    branches: Annotated[
        int | None,
        typer.Option("--branches", metavar="N", help="How many residual branches go: those that outputs miss least."),
    ] = None,
    weights: Annotated[
        float | None, typer.Option("--weights", metavar="RATE", help="The share of weights that become zero: 0.9.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            "--pattern",
            metavar="PATTERN",
            help="Where zeros may stand: unstructured, 4x1 (output channels by inputs), 2:4 (whatever the rate). "
            "[default: a vector of the target by 1]",
        ),
    ] = None,
    low_rank: Annotated[
        float | None,
        typer.Option(
            "--low-rank",
            metavar="ERROR",
            help="Layers become products of a lower rank that lose at most so much of their outputs, where that pays; "
            "with --weights the others get zeros.",
        ),
    ] = None,
    calibration: Calibration = None,
    image: Image = None,
    samples: Annotated[int, typer.Option("--samples", metavar="N", help="How many of them are used at most.")] = 500,
    criterion: Annotated[
        str,
        typer.Option("--criterion", metavar="NAME", help="What is missed least: second-order (by samples), magnitude."),
    ] = "second-order",
    recovery: Annotated[
        bool, typer.Option("--recovery/--no-recovery", help="Fit what is kept to what layers made before.")
    ] = True,
    distill: Annotated[
        bool, typer.Option("--distill", help="At last, train what is kept on the samples to do as the model does.")
    ] = False,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", help="How often --distill goes through the samples.")
    ] = 20,
    layer: Annotated[
        list[str] | None,
        typer.Option("--layer", metavar="NAME", help="A layer to change; repeatable. [default: all that are worth it]"),
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option(
            "--round-to", metavar="N", help="Leave multiples of N channels. [default: a vector of the target]"
        ),
    ] = None,
    target: Target = "host",
    cpu: Cpu = None,
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Make a model's layers narrower, sparser or of lower rank, and write the recipe that `compile --recipe` takes.

    Give --work, or --channels and --heads, --branches, --weights, --low-rank, or several of these: branches go first,
    then channels, then layers of what is left change. Needs samples of inputs, no labels. `tilewright inspect
    --channels` shows which channels go together and which cannot go.

    Examples:

    * `tilewright prune net.onnx --work 0.5 --calibration samples.npz -o half.json` cuts channels, half of the FLOPs
    * `tilewright prune net.onnx --weights 0.9 --calibration samples.npz -o sparse.json` makes 90% of weights zero
    * `tilewright prune net.onnx --low-rank 0.02 --calibration samples.npz -o thin.json` factors layers, 2% error each
    * `tilewright prune net.onnx --work 0.6 --low-rank 0.02 --weights 0.75 --calibration samples.npz -o all.json`
    * `tilewright prune net.onnx --work 0.5 --distill --calibration samples.npz -o half.json` trains what is left, too
    * `tilewright prune net.onnx --channels 0.3 --criterion magnitude --no-recovery -o narrow.json` needs no samples
    * `tilewright compile net.onnx --recipe half.json -o half.so`
    """
    from ... import frontends
    from ..build import target_of
    from ..calibration.images import parse_preprocessing
    from ..calibration.samples import checked_samples
    from ..calibration.tapped import input_specs
    from ..compression.costs import cycles_on
    from ..compression.prune import prune as pruned_model
    from ..compression.pruning import Pruning
    from ..recipes.files import write_recipe
    from ..reports import pruning_report

    asked = Pruning(
        channels=channels,
        work=work,
        heads=heads,
        branches=branches,
        weights=weights,
        pattern=pattern,
        low_rank=low_rank,
        layers=tuple(layer or ()),
        criterion=criterion,
        recover=recovery,
        distill=distill,
        epochs=epochs,
        round_to=round_to,
        samples=samples,
    )
    if calibration is None and asked.needs_samples:
        hint = "--criterion magnitude --no-recovery does without them"
        raise UsageError("samples are needed", where="--calibration", hint=hint)
    shapes, machine = fixed_shapes(shape), target_of(CompileOptions(target=target, cpu=cpu))
    check_output(output, model)
    make_folders(output, None, None)
    here = CompileOptions(shapes=shapes)
    images = parse_preprocessing(image) if image is not None else None
    with interrupt.temporary_folder(), shown(f"pruning {model.name}", Timeline()) as progress:
        opened = frontends.open(model, frontends.Request(shapes=shapes))
        given = () if calibration is None else checked_samples(calibration, input_specs(opened, here), images)
        pruned = pruned_model(opened, given, asked.for_vectors(machine.lanes()), here, progress, cycles_on(machine))
        write_recipe(pruned.recipe, output)
    if as_json:
        show_json(pruning_report.to_json(pruned))
    else:
        show(*pruning_report.tables(pruned), f"{output}: used by tilewright compile --recipe {output}")

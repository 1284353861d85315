"""`verify`: a library against ONNX Runtime on the model it came from, and the search for what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import EXIT_COMPARISON_FAILED, UsageError
from ..calibration.limits import LEAST_DECIBELS, check_decibels
from ..precision import rtol_of
from ..process import interrupt
from ..process.progress import Timeline, shown
from ..reports.report import Table, show, show_json
from ..verification.verify import DEFAULT_RUNS
from .command_options import (
    Binds,
    Device,
    Inputs,
    Json,
    Library,
    Model,
    RecipeFile,
    Seed,
    read_bindings,
    read_inputs,
)
from .opened_libraries import open_library, open_there

if TYPE_CHECKING:
    from ..runners.runner import Library as AnyLibrary
    from ..verification.bisect import Divergence


def verify(
    library: Library,
    model: Model,
    tensors: Inputs = None,
    bind: Binds = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Sets of random inputs.")] = DEFAULT_RUNS,
    rtol: Annotated[
        float | None,
        typer.Option("--rtol", min=0, help="The tolerance. [default: 1e-4; 2e-2 for fp16, 1e-1 for bf16 libraries]"),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="When outputs differ, find the first operator that does.")
    ] = False,
    recipe: RecipeFile = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DATA", help="With --recipe: samples, as `quantize --calibration` takes them."),
    ] = None,
    least_decibels: Annotated[
        float, typer.Option("--least-db", metavar="DB", help="With --recipe: signal to noise that is enough.")
    ] = LEAST_DECIBELS,
    as_json: Json = False,
) -> None:
    """Compare a library with ONNX Runtime running the model it came from.

    With --recipe it is a quantized one: it is compared with the float model, by signal to noise, and with the
    arithmetic of the recipe; --bisect then names the layers whose own error is the largest.

    Every output must have max |error| <= RTOL * max |reference|; integers must be equal.

    Examples:

    * `tilewright verify model.so model.onnx --runs 5`
    * `tilewright verify model.so model.onnx --input image=@image.npy --bisect`
    * `tilewright verify model.so model.onnx --device qemu`
    * `tilewright verify int8.so model.onnx --recipe recipe.json --data samples.npz --bisect`
    """
    from ..verification import verify as verification

    if bisect and device is not None:
        raise UsageError("the search for an operator runs here", where="--bisect", hint="leave out --device")
    if recipe is not None and device is not None:
        raise UsageError("a recipe is looked at here", where="--recipe", hint="leave out --device")
    if recipe is None and data is not None:
        raise UsageError("samples belong to a recipe", where="--data", hint="add --recipe RECIPE.json")
    check_decibels(least_decibels)
    if recipe is not None:
        _quantized(library, model, recipe, data, tensors, runs, seed, least_decibels, bisect, as_json)
        return
    loaded, runner = open_there(library, None, device)
    values = read_inputs(loaded, tensors, random_inputs=True, seed=seed, only_given=True)
    bindings = read_bindings(bind)
    timeline = Timeline()
    with shown(f"verifying {library.name}", timeline) as progress:
        progress("compare", 0, 0)
        result = verification.verify(
            loaded, model, inputs=values, bindings=bindings, runs=runs, rtol=rtol, seed=seed, runner=runner
        )
    culprit = None
    if bisect and not result.passed:
        # Inside it is held to the model as it came: what integers change has to be let pass.
        bound = max(result.rtol, rtol_of(loaded.signature.precision, loaded.signature.quantize))
        culprit = _bisected(loaded, model, values, bindings, bound if rtol is None else rtol, seed)
    report: dict[str, Any] = result.to_json()
    if bisect:
        report["first_divergence"] = culprit.to_json() if culprit is not None else None
    if as_json:
        show_json(report)
    else:
        table = Table(("output", ">max |error|", ">max |reference|", ">error / reference", ">same top-1", "result"))
        for name, each in result.worst().items():
            state = "ok" if each.passed else each.problem or "DIFFERS"
            top1 = "" if each.top1 is None else f"{each.top1:.1%}"
            numbers = (f"{each.max_error:.3g}", f"{each.max_reference:.3g}", f"{each.relative_error:.2e}")
            table.add(name, *numbers, top1, state)
        verdict = "agrees with" if result.passed else "DIFFERS from"
        show(
            table,
            f"{library.name} {verdict} {result.reference} on {len(result.runs)} inputs, tolerance {result.rtol:g}",
        )
        if bisect and not result.passed:
            from ..verification.bisect import describe

            show(describe(culprit))
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if not result.passed:
        raise typer.Exit(EXIT_COMPARISON_FAILED)


def _quantized(
    library: Path,
    model: Path,
    recipe: Path,
    data: Path | None,
    tensors: list[str] | None,
    runs: int,
    seed: int,
    least_decibels: float,
    bisect: bool,
    as_json: bool,
) -> None:
    from ... import frontends
    from ..calibration.samples import checked_samples
    from ..inputs.requests import request_for
    from ..recipe_check.check import check_quantized
    from ..recipes.files import read_recipe
    from ..reports.quantization_check import tables
    from ..verification.bisect import options_of

    loaded = open_library(library, None)
    specs = loaded.signature.model_inputs
    opened = frontends.open(model, request_for(specs))
    if data is not None:
        samples = checked_samples(data, specs)
    else:
        samples = iter(
            [
                read_inputs(loaded, tensors, random_inputs=True, seed=number, model=model)
                for number in range(seed, seed + runs)
            ]
        )
    with interrupt.temporary_folder(), shown(f"verifying {library.name}", Timeline()) as progress:
        found = check_quantized(
            loaded,
            opened,
            read_recipe(recipe),
            samples,
            least_decibels=least_decibels,
            bisect=bisect,
            options=options_of(loaded.signature),
            tell=progress,
        )
    show_json(found.to_json()) if as_json else show(*tables(library.name, found))
    if not found.passed:
        raise typer.Exit(EXIT_COMPARISON_FAILED)


def _bisected(
    library: AnyLibrary, model: Path, values: dict[str, Any], bindings: dict[str, Any], rtol: float, seed: int
) -> Divergence | None:
    from ..verification.bisect import bisect, options_of

    asked = options_of(library.signature, bindings)
    with interrupt.temporary_folder(), shown("bisecting", Timeline()) as progress:
        return bisect(model, asked, inputs=values, rtol=rtol, seed=seed, progress=progress)

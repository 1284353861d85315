"""`verify`: a library against ONNX Runtime on the model it came from, and the search for what differs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import EXIT_COMPARISON_FAILED, UsageError
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
    Seed,
    open_there,
    read_bindings,
    read_inputs,
)

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
    as_json: Json = False,
) -> None:
    """Compare a library with ONNX Runtime running the model it came from.

    Every output must have max |error| <= RTOL * max |reference|; integers must be equal.

    Examples:

    * `tilewright verify model.so model.onnx --runs 5`
    * `tilewright verify model.so model.onnx --input image=@image.npy --bisect`
    * `tilewright verify model.so model.onnx --device qemu`
    """
    from ..verification import verify as verification

    if bisect and device is not None:
        raise UsageError("the search for an operator runs here", where="--bisect", hint="leave out --device")
    loaded, runner = open_there(library, None, device)
    values = read_inputs(loaded, tensors, random_inputs=True, seed=seed, only_given=True)
    bindings = read_bindings(bind)
    timeline = Timeline()
    with shown(f"verifying {library.name}", timeline) as progress:
        progress("compare", 0, 0)
        result = verification.verify(
            loaded, model, inputs=values, bindings=bindings, runs=runs, rtol=rtol, seed=seed, runner=runner
        )
    culprit = _bisected(loaded, model, values, bindings, result.rtol, seed) if bisect and not result.passed else None
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


def _bisected(
    library: AnyLibrary, model: Path, values: dict[str, Any], bindings: dict[str, Any], rtol: float, seed: int
) -> Divergence | None:
    from ..verification.bisect import bisect, options_of

    asked = options_of(library.signature, bindings)
    with interrupt.temporary_folder(), shown("bisecting", Timeline()) as progress:
        return bisect(model, asked, inputs=values, rtol=rtol, seed=seed, progress=progress)

"""What shows things: `inspect` models and libraries, `targets` of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...errors import UsageError
from ..options import CompileOptions
from ..reports.report import show, show_json
from .command_options import Arena, Binds, Cpu, Json, Ranges, Regions, Shapes, States, Target, compile_options
from .tensor_options import parse_regions, parse_size


def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|LIB", help="A model, as `compile` takes it, or a library.")],
    shape: Shapes = None,
    range_: Ranges = None,
    state: States = None,
    bind: Binds = None,
    memory: Annotated[
        Path | None,
        typer.Option(
            "--memory", metavar="FILE", help="Compile a model as far as its memory, and draw it: .svg or .html."
        ),
    ] = None,
    channels: Annotated[
        bool,
        typer.Option("--channels", help="Which channels of a model go together, and what cutting them would save."),
    ] = False,
    target: Target = "host",
    cpu: Cpu = None,
    arena: Arena = None,
    region: Regions = None,
    as_json: Json = False,
) -> None:
    """Show a model's operators, shapes, FLOPs and weights, or a library's kernels and memory.

    Of a model that cannot be compiled it says why; with --range, for these sizes. FLOPs are those of the largest.

    Examples:

    * `tilewright inspect model.onnx --shape input=1x3x224x224`
    * `tilewright inspect model.onnx --shape input=Nx3xHx224 --range N=1..8 --range H=32..224`
    * `tilewright inspect model.so --json`
    * `tilewright inspect model.onnx --memory memory.svg --target thumbv7em-none-eabihf`
    * `tilewright inspect model.onnx --channels`
    """
    from ..reports import channel_report, inspection

    # Regions are those of C sources; without them memory is what a library for one thread takes.
    kind: dict[str, Any] = {"emit": "c", "regions": parse_regions(region)} if region else {}
    kind["arena"] = parse_size(arena, "--arena")
    asked = compile_options(target, cpu, "", shape, bind, "fp32", 1, None, range_, None, state, **kind)
    if (memory is not None or channels) and inspection.is_library(path):
        option, hint = "--channels" if memory is None else "--memory", "give the model that it was compiled of"
        raise UsageError(f"{option} is for models, and {path} is a library", where=option, hint=hint)
    if memory is not None:
        _draw(path, memory, asked, as_json)
        return
    if channels:
        found = channel_report.inspect_channels(path, asked)
        parts = channel_report.channel_tables(found)
    elif inspection.is_library(path):
        from ..library.artifact import read_signature

        found = inspection.inspect_library(read_signature(path), path)
        parts = inspection.library_tables(found)
    else:
        found = inspection.inspect_model(path, asked)
        parts = inspection.model_tables(found)
    if as_json:
        show_json(found)
    else:
        show(*parts)


def _draw(model: Path, place: Path, options: CompileOptions, as_json: bool) -> None:
    """Draws the memory of a model, and says what makes its peak."""
    from ..build import build
    from ..reports.memory_map import check_place, draw_memory, memory_facts, memory_lines

    check_place(place)
    made = build(model, None, options, stop_after="plan")
    assert made.plan is not None
    draw_memory(made.plan, made.target.alignment, place)
    facts = memory_facts(made.plan, made.target.alignment)
    if as_json:
        show_json({"kind": "memory", "memory": facts})
    else:
        show(*memory_lines(facts), f"drawn in {place}")


def targets(as_json: Json = False) -> None:
    """Show what this machine is, which targets work here, and what each still needs."""
    from ..reports import target_report

    found = target_report.describe()
    if as_json:
        show_json(found)
    else:
        show(*target_report.tables(found))

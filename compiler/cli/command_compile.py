"""`compile`: makes a library of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..process import interrupt
from ..process.progress import Timeline, shown
from ..reports.report import duration, size
from .command_options import (
    Arena,
    Best,
    Binds,
    CompiledThreads,
    Cpu,
    Features,
    Jobs,
    Model,
    Precision,
    Quantize,
    Ranges,
    RecipeFile,
    Regions,
    Shapes,
    States,
    Target,
    compile_options,
    quantization,
)
from .tensor_options import parse_regions, parse_size

if TYPE_CHECKING:
    from ..built import Build


def compile_command(
    model: Model,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="The library; its header goes beside it. A folder for C."),
    ],
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    emit: Annotated[
        str,
        typer.Option(
            "--emit",
            metavar="KIND",
            help="so: shared library; a: static; bench: a program that checks and times itself; c: C99; cu: CUDA.",
        ),
    ] = "so",
    shape: Shapes = None,
    range_: Ranges = None,
    best: Best = None,
    state: States = None,
    bind: Binds = None,
    precision: Precision = "fp32",
    threads: CompiledThreads = None,
    arena: Arena = None,
    region: Regions = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SYMBOL", help="Prefix of the C functions. [default: from the file's name]"),
    ] = None,
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE", help="Records of `tilewright tune` to use.")
    ] = None,
    recipe: RecipeFile = None,
    quantize: Quantize = None,
    passes: Annotated[
        list[str] | None,
        typer.Option(
            "--pass",
            metavar="PASS",
            help="-fuse_gelu leaves a pass out, fuse_epilogues{max_calls=4} gives it options. May be repeated.",
        ),
    ] = None,
    save_ir: Annotated[
        Path | None, typer.Option("--save-ir", metavar="DIR", help="Write the IR after each pass.")
    ] = None,
    keep_temps: Annotated[
        Path | None, typer.Option("--keep-temps", metavar="DIR", help="Keep sources and objects.")
    ] = None,
    jobs: Jobs = None,
) -> None:
    """Compile a model into a library for a target.

    Examples:

    * `tilewright compile resnet50.onnx -o resnet50.so`
    * `tilewright compile bert.onnx -o bert.so --shape input_ids=1x128 --bind mask=@ones.npy`
    * `tilewright compile resnet50.onnx -o resnet50.so --shape input=Nx3x224x224 --range N=1..32 --best N=1,8`
    * `tilewright compile gpt2.onnx -o gpt2.so --range past=0..896 --range seq=1..128 --state past.*=present.*`
    * `tilewright compile net.onnx -o net.so --target x86_64-linux-gnu --mcpu x86-64-v3 --threads 1`
    * `tilewright compile net.onnx -o net.so --target nvptx64-nvidia-cuda --mcpu sm_80,sm_90a`
    * `tilewright compile net.onnx -o net_int8.so --quantize recipe.json`
    * `tilewright compile gpt2.onnx -o gpt2_int4.so --quantize weights-int4`
    * `tilewright compile kws.onnx -o kws --emit c --target thumbv7em-none-eabihf --mcpu cortex-m4`
    """
    from ..build import build

    asked = compile_options(
        target,
        cpu,
        features,
        shape,
        bind,
        precision,
        threads,
        jobs,
        range_,
        best,
        state,
        name=name,
        emit=emit,
        records=records,
        **quantization(recipe, quantize),
        passes=tuple(passes or ()),
        save_ir=save_ir,
        keep_temps=keep_temps,
        arena=parse_size(arena, "--arena"),
        regions=parse_regions(region or ()),
    )
    timeline = Timeline()
    with (
        interrupt.temporary_folder(),
        interrupt.done_when_published(),
        shown(f"compiling {model.name}", timeline) as progress,
    ):
        made = build(model, output, asked, progress=progress)
    typer.echo(f"{output}: {_contents(made)}, compiled in {duration(timeline.total_seconds)}", err=True)


def _contents(made: Build) -> str:
    """How large a library is; of sources what they need on the device."""
    assert made.path is not None and made.plan is not None
    if made.path.is_dir():
        arena = sum(region.bytes for region in made.plan.regions)
        constants = made.plan.constants  # in C each is an array of its own, with nothing between them
        weights = sum(map(len, constants.contents)) if made.target.grid is None else constants.nbytes
        return f"weights {size(weights)}, arena {size(arena)}"
    return size(made.path.stat().st_size)

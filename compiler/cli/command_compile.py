"""`compile`: makes a library of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..process import interrupt
from ..process.progress import Timeline, shown
from ..reports.report import duration, size
from .command_options import (
    Binds,
    CompiledThreads,
    Cpu,
    Features,
    Jobs,
    Model,
    Precision,
    Shapes,
    Target,
    compile_options,
)


def compile_command(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The library; its header goes beside it.")
    ],
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    emit: Annotated[
        str,
        typer.Option(
            "--emit",
            metavar="KIND",
            help="so: shared library; a: static; bench: a program that checks and times itself.",
        ),
    ] = "so",
    shape: Shapes = None,
    bind: Binds = None,
    precision: Precision = "fp32",
    threads: CompiledThreads = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SYMBOL", help="Prefix of the C functions. [default: from the file's name]"),
    ] = None,
    records: Annotated[
        Path | None, typer.Option("--records", metavar="FILE", help="Records of `tilewright tune` to use.")
    ] = None,
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
    * `tilewright compile net.onnx -o net.so --target x86_64-linux-gnu --mcpu x86-64-v3 --threads 1`
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
        name=name,
        emit=emit,
        records=records,
        passes=tuple(passes or ()),
        save_ir=save_ir,
        keep_temps=keep_temps,
    )
    timeline = Timeline()
    with (
        interrupt.temporary_folder(),
        interrupt.done_when_published(),
        shown(f"compiling {model.name}", timeline) as progress,
    ):
        build(model, output, asked, progress=progress)
    typer.echo(f"{output}: {size(output.stat().st_size)}, compiled in {duration(timeline.total_seconds)}", err=True)

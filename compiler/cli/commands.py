"""The commands of the command line. Each reads its options, calls the compiler, and shows what that says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import EXIT_COMPARISON_FAILED
from ..process import interrupt
from ..process.install import check_place, written_whole
from ..process.progress import Timeline, shown
from ..reports.report import Table, duration, show, show_json, size
from ..verification.verify import DEFAULT_RUNS
from .command_options import (
    UNITS,
    Binds,
    Cpu,
    Features,
    Inputs,
    Json,
    Library,
    Model,
    Seed,
    Shapes,
    Target,
    Threads,
    feature_list,
    open_library,
    read_bindings,
    read_inputs,
)
from .tensor_options import parse_shapes

if TYPE_CHECKING:
    from ..library.artifact import CompiledModel
    from ..measurement.bench import Latency
    from ..measurement.roofline import Roofline
    from ..verification.bisect import Divergence

_HELP = """Compiles trained models into standalone shared libraries.

Start with:

* `tilewright compile model.onnx -o model.so`
* `tilewright verify model.so model.onnx`
* `tilewright bench model.so --kernels`

Messages go to stderr, results to stdout. Exit codes: 0 done, 1 a comparison failed, 2 the command line is wrong,
3 not supported, 4 an input is damaged or missing, 5 a tool failed, 130 interrupted."""

_PROFILED_RUNS = 20  # of each kernel, with a clock read between them

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from ... import __version__

        show(f"tilewright {__version__}")
        raise typer.Exit


@app.callback(help=_HELP)
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before a command."""
    del version


@app.command("compile")
def compile_command(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The library; its header goes beside it.")
    ],
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    emit: Annotated[str, typer.Option("--emit", metavar="KIND", help="so: shared library; a: static.")] = "so",
    shape: Shapes = None,
    bind: Binds = None,
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            metavar="TYPE",
            help=f"fp32; bf16: multiply and store in bfloat16 ({UNITS}); fp16: store weights in float16.",
        ),
    ] = "fp32",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", metavar="N", help="Default when it runs; 1 builds without threads. [default: all processors]"
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="SYMBOL", help="Prefix of the C functions. [default: from the file's name]"),
    ] = None,
    records: Annotated[Path | None, typer.Option("--records", metavar="FILE", help="The tuner's records.")] = None,
    save_ir: Annotated[
        Path | None, typer.Option("--save-ir", metavar="DIR", help="Write the IR after each pass.")
    ] = None,
    keep_temps: Annotated[
        Path | None, typer.Option("--keep-temps", metavar="DIR", help="Keep sources and objects.")
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs", metavar="N", help="Processes that compile kernels. [default: one a core; 1 for few kernels]"
        ),
    ] = None,
) -> None:
    """Compile a model into a library for a target.

    Examples:

    * `tilewright compile resnet50.onnx -o resnet50.so`
    * `tilewright compile bert.onnx -o bert.so --shape input_ids=1x128 --bind mask=@ones.npy`
    * `tilewright compile net.onnx -o net.so --target x86_64-linux-gnu --mcpu x86-64-v3 --threads 1`
    """
    from ..api import compile_to_file

    timeline = Timeline()
    with (
        interrupt.temporary_folder(),
        interrupt.done_when_published(),
        shown(f"compiling {model.name}", timeline) as progress,
    ):
        path = compile_to_file(
            model,
            output,
            target,
            shapes=parse_shapes(shape or ()),
            bindings=read_bindings(bind),
            name=name,
            emit=emit,
            cpu=cpu,
            features=feature_list(features),
            threads=threads,
            precision=precision,
            records=records,
            save_ir=save_ir,
            keep_temps=keep_temps,
            jobs=jobs,
            progress=progress,
        )
    typer.echo(f"{path}: {size(path.stat().st_size)}, compiled in {duration(timeline.total_seconds)}", err=True)


@app.command()
def run(
    library: Library,
    tensors: Inputs = None,
    random_inputs: Annotated[
        bool, typer.Option("--random-inputs", help="Fill inputs not given with random data.")
    ] = False,
    seed: Seed = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT.npz", help="Write the outputs.")] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Run a library once and show or save its outputs. Needs numpy alone.

    Examples:

    * `tilewright run model.so --input image=@image.npy -o outputs.npz`
    * `tilewright run model.so --input ids=101,2023,102 --random-inputs --seed 7`
    """
    import numpy as np

    model = open_library(library, threads)
    values = read_inputs(model, tensors, random_inputs=random_inputs, seed=seed)
    outputs = model.run(values)
    if output is not None:
        _save_arrays(output, outputs)
    summary = [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            **{
                key: _finite(f(array)) for key, f in (("min", np.min), ("mean", np.mean), ("max", np.max)) if array.size
            },
        }
        for name, array in outputs.items()
    ]
    if as_json:
        show_json({"outputs": summary})
        return
    table = Table(("output", "dtype", "shape", ">min", ">mean", ">max"))
    for row, array in zip(summary, outputs.values(), strict=True):
        numbers = ("-" if row.get(key) is None else f"{row[key]:.6g}" for key in ("min", "mean", "max"))
        table.add(row["name"], row["dtype"], "x".join(map(str, array.shape)) or "scalar", *numbers)
    show(table)


@app.command()
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
    """
    from ..verification import verify as verification

    loaded = open_library(library, None)
    values = read_inputs(loaded, tensors, random_inputs=True, seed=seed, only_given=True)
    bindings = read_bindings(bind)
    timeline = Timeline()
    with shown(f"verifying {library.name}", timeline) as progress:
        progress("compare", 0, 0)
        result = verification.verify(loaded, model, inputs=values, bindings=bindings, runs=runs, rtol=rtol, seed=seed)
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


@app.command()
def bench(
    library: Library,
    threads: Threads = None,
    repeat: Annotated[int, typer.Option("--repeat", metavar="N", min=1, help="Counted runs of each engine.")] = 50,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time each kernel under the machine's measured roofline.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write the kernels as a page with plots and a table."),
    ] = None,
    against: Annotated[
        str, typer.Option("--against", metavar="LIST", help="onnxruntime,openvino; needs --model.")
    ] = "",
    model: Annotated[Path | None, typer.Option("--model", metavar="MODEL", help="What the other engines run.")] = None,
    tensors: Inputs = None,
    bind: Binds = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Time a library, its kernels, and other engines in the same run, taking turns.

    With --kernels each kernel has its FLOPs, bytes, the bound that the machine's measured peak and bandwidths set it,
    how much of that it reached, and the nodes it came from; what loses most time comes first. FLOPs are those of the
    direct algorithm, so that a kernel that needs fewer of them may reach more than 100%.

    Examples:

    * `tilewright bench model.so --threads 1 --kernels`
    * `tilewright bench model.so --html roofline.html`
    * `tilewright bench model.so --against onnxruntime,openvino --model model.onnx`
    """
    from ..measurement import bench as timing

    if html is not None:
        check_place(html, keep=[library, model])
    loaded = open_library(library, threads)
    names = [name for name in against.split(",") if name]
    values = read_inputs(loaded, tensors, random_inputs=True, seed=seed, model=model)
    with shown(f"timing {library.name}", Timeline()) as progress:
        progress("latency", 0, 0)
        latencies = timing.measure(
            loaded,
            values,
            repeat=repeat,
            against=names,
            source=model,
            bindings=read_bindings(bind),
            threads=threads or 0,
        )
        roofline = None
        if kernels or html is not None:
            runs = min(repeat, _PROFILED_RUNS)
            roofline = timing.profile(loaded, values, repeat=runs, threads=threads or 0, progress=progress)
        if html is not None and roofline is not None:
            progress("page", 0, 0)
            _save_page(html, loaded, latencies, roofline)
    if html is not None:
        typer.echo(f"{html}: {size(html.stat().st_size)}, open it in a browser", err=True)
    if as_json:
        show_json(timing.to_json(latencies, roofline))
        return
    table = Table(("engine", ">median ms", ">min ms", ">p90 ms", ">ours / theirs"))
    for each in latencies:
        ratio = "" if each.engine == timing.OURS else f"{latencies[0].median_ms / each.median_ms:.3f}"
        table.add(each.engine, f"{each.median_ms:.3f}", f"{each.min_ms:.3f}", f"{each.p90_ms:.3f}", ratio)
    show(table)
    if kernels and roofline is not None:
        from ..reports.roofline_tables import roofline_parts

        show(*roofline_parts(roofline))


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|LIB", help="An .onnx file or a library.")],
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Show a model's operators, shapes, FLOPs and weights, or a library's kernels and memory.

    Examples:

    * `tilewright inspect model.onnx --shape input=1x3x224x224`
    * `tilewright inspect model.so --json`
    """
    from ..reports import inspection

    if inspection.is_library(path):
        from ..library.artifact import read_signature

        found = inspection.inspect_library(read_signature(path), path)
        parts = inspection.library_tables(found)
    else:
        found = inspection.inspect_model(path, parse_shapes(shape or ()))
        parts = inspection.model_tables(found)
    if as_json:
        show_json(found)
    else:
        show(*parts)


@app.command()
def tune(
    model: Model,
    records: Annotated[Path, typer.Option("--records", metavar="FILE.jsonl", help="Where results are kept.")],
    seconds: Annotated[float | None, typer.Option("--seconds", help="Budget.")] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Budget.")] = None,
    device: Annotated[str, typer.Option("--device", help="Where candidates are measured.")] = "local",
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    shape: Shapes = None,
    bind: Binds = None,
) -> None:
    """Search for faster schedules on a device (not in this version)."""
    from ..api import tune as search

    del device, target, cpu, features, shape, bind  # what the tuner will take stands already in the interface
    search(model, records=records, seconds=seconds, trials=trials)


@app.command()
def targets(as_json: Json = False) -> None:
    """Show what this machine is, which targets work here, and what each still needs."""
    from ..reports import target_report

    found = target_report.describe()
    if as_json:
        show_json(found)
    else:
        show(*target_report.tables(found))


def _bisected(
    library: CompiledModel, model: Path, values: dict[str, Any], bindings: dict[str, Any], rtol: float, seed: int
) -> Divergence | None:
    from ..verification.bisect import bisect, target_of

    signature = library.signature
    shapes = {spec.name: spec.shape for spec in library.inputs}
    with interrupt.temporary_folder(), shown("bisecting", Timeline()) as progress:
        return bisect(
            model,
            inputs=values,
            bindings=bindings,
            shapes=shapes,
            target=target_of(signature),
            precision=signature.precision,
            threads=signature.default_threads or None if signature.threaded else 1,
            rtol=rtol,
            seed=seed,
            progress=progress,
        )


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    import numpy as np

    with written_whole(path) as file:
        np.savez(file, **arrays)


def _save_page(path: Path, loaded: CompiledModel, latencies: list[Latency], roofline: Roofline) -> None:
    from datetime import datetime

    from ...targets.host import read_host
    from ..reports.bench_page import render

    page = render(
        loaded.signature, roofline, latencies, library=loaded.path.name, host=read_host(), measured_at=datetime.now()
    )
    with written_whole(path) as file:
        # A name that is no valid Unicode is shown with question marks.
        file.write(page.encode("utf-8", "replace"))


def _finite(value: Any) -> float | None:
    import math

    number = float(value)
    return number if math.isfinite(number) else None

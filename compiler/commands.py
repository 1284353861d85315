"""The commands of the command line. Each reads its options, calls the compiler, and shows what that says."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import EXIT_COMPARISON_FAILED, OutputError, TensorError, UsageError
from . import interrupt
from .progress import Timeline, shown
from .report import Table, duration, show, show_json, size
from .tensor_options import parse_shapes, parse_tensors, shaped_as

if TYPE_CHECKING:
    from .artifact import CompiledModel

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Compiles trained models into standalone shared libraries.

    Start with:  `tilewright compile model.onnx -o model.so`,  then  `tilewright verify model.so model.onnx`.
    Messages go to stderr, results to stdout. Exit codes: 0 done, 1 a comparison failed, 2 the command line is wrong,
    3 not supported, 4 an input is damaged or missing, 5 a tool failed, 130 interrupted.""",
)

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="An .onnx file.")]
Library = Annotated[Path, typer.Argument(metavar="LIB", help="A library that `tilewright compile` wrote.")]
Target = Annotated[str, typer.Option("--target", metavar="TRIPLE", help="`host`, or a triple: x86_64-linux-gnu.")]
Cpu = Annotated[str | None, typer.Option("--mcpu", metavar="CPU", help="LLVM's name of the CPU: x86-64-v3, znver3.")]
Features = Annotated[str, typer.Option("--features", metavar="LIST", help="Change the CPU's features: +avx2,-avx512f.")]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=1x3x224x224", help="Full shape of an input; repeat for several."),
]
Binds = Annotated[
    list[str] | None,
    typer.Option("--bind", metavar="NAME=@value.npy", help="Fix an input to a value at compile time; repeatable."),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=@x.npy", help="A tensor: @file.npy, @file.npz, or numbers 1,2,3; repeatable."
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of parallel loops.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of random inputs.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


@app.command("compile")
def compile_command(
    model: Model,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="The library; its header goes beside it.")
    ],
    target: Target = "host",
    cpu: Cpu = None,
    features: Features = "",
    emit: Annotated[str, typer.Option("--emit", help="so: shared library; a: static library.")] = "so",
    shape: Shapes = None,
    bind: Binds = None,
    precision: Annotated[str, typer.Option("--precision", help="fp32.")] = "fp32",
    threads: Annotated[int | None, typer.Option("--threads", metavar="N", help="1 builds without threads.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="SYMBOL", help="Prefix of the C functions.")] = None,
    records: Annotated[Path | None, typer.Option("--records", metavar="FILE", help="The tuner's records.")] = None,
    save_ir: Annotated[
        Path | None, typer.Option("--save-ir", metavar="DIR", help="Write the IR after each pass.")
    ] = None,
    keep_temps: Annotated[
        Path | None, typer.Option("--keep-temps", metavar="DIR", help="Keep sources and objects.")
    ] = None,
) -> None:
    """Compile a model into a library for a target.

    Examples:  `tilewright compile resnet50.onnx -o resnet50.so`,
    `tilewright compile bert.onnx -o bert.so --shape input_ids=1x128 --target x86_64-linux-gnu --mcpu x86-64-v3`
    """
    from .api import compile_to_file

    timeline = Timeline()
    with interrupt.temporary_folder(), shown(f"compiling {model.name}", timeline) as progress:
        path = compile_to_file(
            model,
            output,
            target,
            shapes=parse_shapes(shape or ()),
            bindings=_bindings(bind),
            name=name,
            emit=emit,
            cpu=cpu,
            features=_feature_list(features),
            threads=threads,
            precision=precision,
            records=records,
            save_ir=save_ir,
            keep_temps=keep_temps,
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

    Example:  `tilewright run model.so --input image=@image.npy -o outputs.npz`
    """
    import numpy as np

    model = _load(library, threads)
    values = _values(model, tensors, random_inputs=random_inputs, seed=seed)
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
    runs: Annotated[int, typer.Option("--runs", min=1, help="Sets of random inputs.")] = 3,
    rtol: Annotated[float, typer.Option("--rtol", min=0, help="max |error| <= RTOL * max |reference|.")] = 1e-4,
    seed: Seed = 0,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="When outputs differ, find the first operator that does.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare a library with ONNX Runtime running the model it came from.

    Example:  `tilewright verify model.so model.onnx --runs 5`
    """
    from . import verify as verification

    loaded = _load(library, None)
    values = _values(loaded, tensors, random_inputs=True, seed=seed, only_given=True)
    bindings = _bindings(bind)
    timeline = Timeline()
    with shown(f"verifying {library.name}", timeline) as progress:
        progress("compare", 0, 0)
        result = verification.verify(loaded, model, inputs=values, bindings=bindings, runs=runs, rtol=rtol, seed=seed)
    culprit = _bisected(loaded, model, values, bindings, rtol, seed) if bisect and not result.passed else None
    report: dict[str, Any] = result.to_json()
    if bisect:
        report["first_divergence"] = asdict(culprit) if culprit is not None else None
    if as_json:
        show_json(report)
    else:
        table = Table(("output", ">max |error|", ">max |reference|", ">error / reference", "result"))
        for name, each in result.worst().items():
            state = "ok" if each.passed else each.problem or "DIFFERS"
            table.add(name, f"{each.max_error:.3g}", f"{each.max_reference:.3g}", f"{each.relative_error:.2e}", state)
        verdict = "agrees with" if result.passed else "DIFFERS from"
        show(table, f"{library.name} {verdict} {result.reference} on {len(result.runs)} inputs, tolerance {rtol:g}")
        if bisect and not result.passed:
            show(_culprit_text(culprit))
    for warning in result.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if not result.passed:
        raise typer.Exit(EXIT_COMPARISON_FAILED)


@app.command()
def bench(
    library: Library,
    threads: Threads = None,
    repeat: Annotated[int, typer.Option("--repeat", min=1, help="Counted runs of each engine.")] = 50,
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Time each kernel, and its share of the measured peak.")
    ] = False,
    against: Annotated[
        str, typer.Option("--against", metavar="LIST", help="onnxruntime,openvino; needs --model.")
    ] = "",
    model: Annotated[Path | None, typer.Option("--model", metavar="MODEL", help="What the other engines run.")] = None,
    tensors: Inputs = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Time a library, its kernels, and other engines in the same run, taking turns.

    Example:  `tilewright bench model.so --threads 1 --kernels --against onnxruntime --model model.onnx`
    """
    from . import bench as timing

    loaded = _load(library, threads)
    values = _values(loaded, tensors, random_inputs=True, seed=seed)
    names = [name for name in against.split(",") if name]
    with shown(f"timing {library.name}", Timeline()) as progress:
        progress("latency", 0, 0)
        latencies = timing.measure(loaded, values, repeat=repeat, against=names, source=model, threads=threads or 0)
        rows = []
        if kernels:
            progress("kernels", 0, 0)
            rows = timing.profile(loaded, values, repeat=min(repeat, 20), threads=threads or 0)
    if as_json:
        show_json(timing.to_json(latencies, rows))
        return
    table = Table(("engine", ">median ms", ">min ms", ">p90 ms", ">ours / theirs"))
    for each in latencies:
        ratio = "" if each.engine == timing.OURS else f"{latencies[0].median_ms / each.median_ms:.3f}"
        table.add(each.engine, f"{each.median_ms:.3f}", f"{each.min_ms:.3f}", f"{each.p90_ms:.3f}", ratio)
    show(table)
    if rows:
        detail = Table((">us", ">GFLOP/s", ">of peak", "template", "kernel", "computes"), "kernels, slowest first")
        for row in rows:
            rate = ("", "") if row.gflops is None else (f"{row.gflops:.1f}", f"{row.peak_share or 0:.0%}")
            detail.add(f"{row.microseconds:.1f}", *rate, row.template, row.kernel, " + ".join(row.sources))
        show(detail)


@app.command()
def inspect(
    path: Annotated[Path, typer.Argument(metavar="MODEL|LIB", help="An .onnx file or a library.")],
    shape: Shapes = None,
    as_json: Json = False,
) -> None:
    """Show a model's operators, shapes, FLOPs and weights, or a library's kernels and memory."""
    from . import inspection

    if path.suffix == ".onnx":
        found = inspection.inspect_model(path, parse_shapes(shape or ()))
        parts = inspection.model_tables(found)
    else:
        from .artifact import read_signature

        found = inspection.inspect_library(read_signature(path), path)
        parts = inspection.library_tables(found)
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
) -> None:
    """Search for faster schedules on a device (not in this version)."""
    from .api import tune as search

    search(model, records=records, seconds=seconds, trials=trials)


@app.command()
def targets(as_json: Json = False) -> None:
    """Show what this machine is, which targets work here, and what each still needs."""
    from ..targets.host import read_host

    host = read_host()
    rows = _target_rows()
    facts: dict[str, Any] = {
        "machine": host.machine,
        "cpu": host.model_name,
        "cores": host.cores,
        "l1_bytes": host.l1_bytes,
        "l2_bytes": host.l2_bytes,
        "l3_bytes": host.l3_bytes,
        "level": _host_level(host.features) if host.machine == "x86_64" else None,
    }
    if as_json:
        show_json({"host": facts, "targets": rows})
        return
    caches = ", ".join(f"L{level} {size(facts[f'l{level}_bytes'])}" for level in (1, 2, 3))
    table = Table(("target", "code", "works here", "note"))
    for row in rows:
        table.add(row["target"], row["code"], "yes" if row["works"] else "no", row["note"])
    show(
        f"this machine: {facts['cpu']} ({facts['machine']}, {facts['level']}), {facts['cores']} cores, {caches}", table
    )


def _target_rows() -> list[dict[str, Any]]:
    import importlib.util

    from ..errors import ToolError
    from .toolchain import find_toolchain

    try:
        has_tvm = importlib.util.find_spec("tvm") is not None
    except ImportError:
        has_tvm = False
    try:
        find_toolchain("x86_64-unknown-linux-gnu")
        missing = "" if has_tvm else "needs apache-tvm to compile; libraries run"
    except ToolError as error:
        missing = error.what
    works = not missing
    planned = "comes with its code generator, in a later version"
    return [
        {"target": "host", "code": "LLVM", "works": works, "note": missing or "detected CPU, caches and cores"},
        {"target": "x86_64-linux-gnu", "code": "LLVM", "works": works, "note": missing or "SSE2; more with --mcpu"},
        {"target": "aarch64, armv7, riscv64", "code": "LLVM", "works": False, "note": planned},
        {"target": "cuda", "code": "CUDA", "works": False, "note": planned},
        {"target": "cortex-m", "code": "C", "works": False, "note": planned},
    ]


def _host_level(features: frozenset[str]) -> str:
    from ..targets.x86 import level_of

    return level_of(features).isa


def _load(path: Path, threads: int | None) -> CompiledModel:
    from .artifact import load

    model = load(path)
    if threads is not None:
        if threads < 1:
            raise UsageError(f"{threads} threads are not possible", where="--threads", hint="give 1 or more")
        model.set_num_threads(threads)
    return model


def _values(
    model: CompiledModel, options: list[str] | None, *, random_inputs: bool, seed: int, only_given: bool = False
) -> dict[str, Any]:
    """The inputs of a library from the command line; what is not given is random where that is allowed."""
    from .random_inputs import random_inputs as random

    specs = {spec.name: spec for spec in model.inputs}
    given: dict[str, Any] = {}
    for name, value in parse_tensors(options or (), "--input").items():
        if name not in specs:
            raise TensorError(
                f"the library has no input {name!r}", where="--input", hint=f"its inputs are: {', '.join(specs)}"
            )
        given[name] = shaped_as(specs[name], value, "--input")
    missing = [spec for name, spec in specs.items() if name not in given]
    if missing and not random_inputs:
        raise TensorError(
            "inputs are missing: " + ", ".join(map(str, missing)),
            where="--input",
            hint=f"--input {missing[0].name}=@x.npy for each, or --random-inputs",
        )
    return given if only_given else {**random(missing, seed, {}), **given}


def _bindings(options: list[str] | None) -> dict[str, Any]:
    import numpy as np

    values = parse_tensors(options or (), "--bind")
    for name, value in values.items():
        if not isinstance(value, np.ndarray):
            raise UsageError(f"the value of {name!r} is not a file", where="--bind", hint=f"--bind {name}=@value.npy")
    return dict(values)


def _feature_list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _bisected(
    library: CompiledModel, model: Path, values: dict[str, Any], bindings: dict[str, Any], rtol: float, seed: int
) -> Any:
    from .bisect import bisect

    shapes = {spec.name: spec.shape for spec in library.inputs}
    with interrupt.temporary_folder(), shown("bisecting", Timeline()) as progress:
        return bisect(
            model,
            inputs=values,
            shapes=shapes,
            compile_options={"cpu": library.signature.cpu, "bindings": bindings},
            rtol=rtol,
            seed=seed,
            progress=progress,
        )


def _culprit_text(culprit: Any) -> str:
    if culprit is None:
        return "every operator agrees when its result is kept: the fault is in their fusion; --save-ir tells more"
    found = culprit.comparison
    return (
        f"first operator that differs: node {culprit.node!r} ({culprit.operator}), output {found.output!r}: "
        f"max |error| {found.max_error:.3g}, max |reference| {found.max_reference:.3g}"
    )


def _save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    import os

    import numpy as np

    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with interrupt.removed_afterwards(staging):
            with staging.open("wb") as file:
                np.savez(file, **arrays)
            staging.replace(path)
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror or error}", where=str(path)) from error


def _finite(value: Any) -> float | None:
    import math

    number = float(value)
    return number if math.isfinite(number) else None

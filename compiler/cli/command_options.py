"""The options and arguments that commands share, and how their values are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import TensorError, UsageError
from ...targets.architectures import ARCHITECTURES
from .tensor_options import parse_ranges, parse_shapes, parse_states, parse_tensors, parse_values, shaped_as

if TYPE_CHECKING:
    from ..options import CompileOptions
    from ..runners.runner import Library as AnyLibrary

# The one whose names the examples in the help are.
_ARCHITECTURE = next(iter(ARCHITECTURES.values()))
# Ways to quantize that only `tilewright quantize` knows, as it has the data.
NEED_DATA = ("int8",)
# What multiplies narrow operands.
_UNITS = [unit for architecture in ARCHITECTURES.values() for unit in architecture.units]
BFLOAT16_UNITS = ", ".join(unit.name for unit in _UNITS if unit.rhs == "bfloat16")

Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An .onnx, .pt2, .pt, .tflite, .keras or .h5 file, or a SavedModel.")
]
Library = Annotated[
    Path,
    typer.Argument(metavar="LIB", help="What `tilewright compile` wrote: a library; C sources with --device qemu."),
]
Target = Annotated[
    str, typer.Option("--target", metavar="TRIPLE", help=f"`host`, or a triple: {_ARCHITECTURE.triple}.")
]
Cpu = Annotated[
    str | None,
    typer.Option("--mcpu", metavar="CPU", help=f"LLVM's name of the CPU: {', '.join(_ARCHITECTURE.example_cpus[:2])}."),
]
Features = Annotated[
    str,
    typer.Option(
        "--features", metavar="LIST", help=f"Change the CPU's features: {','.join(_ARCHITECTURE.example_features)}."
    ),
]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        "--region", metavar="NAME=SIZE", help="A memory for C sources, fastest first: fast=64K. May be repeated."
    ),
]
Arena = Annotated[
    str | None,
    typer.Option(
        "--arena", metavar="SIZE", help="Memory for tensors, 96K: what takes more is computed patch by patch."
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="NAME=1x3x224x224", help="Full shape of an input; repeat for several."),
]
Ranges = Annotated[
    list[str] | None,
    typer.Option(
        "--range",
        metavar="N=1..32",
        help="One library for all these values of a dimension; --shape names it. Repeatable.",
    ),
]
Best = Annotated[
    list[str] | None,
    typer.Option("--best", metavar="N=1,8", help="Values of a dimension that get code of their own; repeatable."),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="IN=OUT",
        help="An input and the output that replaces it: one memory, changed in place. * is any text; none: no pair.",
    ),
]
At = Annotated[
    list[str] | None,
    typer.Option("--at", metavar="N=8", help="Size of random inputs, of a library for a range. [default: the largest]"),
]
Binds = Annotated[
    list[str] | None,
    typer.Option("--bind", metavar="NAME=@value.npy", help="Fix an input to a value at compile time; repeatable."),
]
Precision = Annotated[
    str,
    typer.Option(
        "--precision",
        metavar="TYPE",
        help=f"fp32; bf16: multiply and store in bfloat16 ({BFLOAT16_UNITS}, GPUs); fp16: the same in float16 on GPUs, "
        "else weights are stored so; tf32: GPUs multiply float32 rounded to 11 bits.",
    ),
]
CompiledThreads = Annotated[
    int | None,
    typer.Option(
        "--threads", metavar="N", help="Default when it runs; 1 builds without threads. [default: all processors]"
    ),
]
RecipeFile = Annotated[
    Path | None,
    typer.Option("--recipe", metavar="RECIPE.json", help="What is done to the model: `quantize` and `prune` write it."),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="WHAT",
        help="A recipe, as --recipe; or of dense layers, where faster: weights-int8, weights-int4, dynamic (int8).",
    ),
]
RecipeOutput = Annotated[Path, typer.Option("--output", "-o", metavar="RECIPE", help="The recipe, a .json file.")]
Calibration = Annotated[
    Path | None,
    typer.Option("--calibration", metavar="DATA", help="Samples: an .npz or .npy file, an image, or a folder of them."),
]
Image = Annotated[
    str | None,
    typer.Option(
        "--image",
        metavar="STEPS",
        help="How images become inputs: resize=256,crop=224,scale=255,mean=X:Y:Z,std=X:Y:Z,layout=NCHW,color=rgb",
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        "--labels", metavar="FILE", help="One for each sample, in the same order: .npy, or .npz with `labels`."
    ),
]
MetricOption = Annotated[
    str | None,
    typer.Option(
        "--metric",
        metavar="NAME",
        help="top1 (accuracy by labels, or agreement with the float model), cosine, snr, or FILE.py:FUNCTION, which "
        "takes outputs by name, samples on the first axis, and labels; more is better. [default: top1]",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        help="Processes that compile kernels. [default: $TILEWRIGHT_JOBS, or one a core; 1 for few kernels]",
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="NAME=@x.npy", help="A tensor: @file.npy, @file.npz, or numbers 1,2,3; repeatable."
    ),
]
Threads = Annotated[int | None, typer.Option("--threads", metavar="N", help="Threads of parallel loops.")]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="PLACE",
        help="Run it elsewhere: qemu, ssh:USER@HOST, rpc:HOST:PORT/KEY, exec:COMMAND. [default: here]",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of random inputs.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def compile_options(
    target: str,
    cpu: str | None,
    features: str,
    shape: list[str] | None,
    bind: list[str] | None,
    precision: str,
    threads: int | None,
    jobs: int | None,
    range_: list[str] | None = None,
    best: list[str] | None = None,
    state: list[str] | None = None,
    **others: Any,
) -> CompileOptions:
    """What is compiled for, of the options that every command has which compiles; `others` are fields as they are.

    Raises:
        UsageError, UnsupportedError: as `CompileOptions`.
        DataError: a file is missing or damaged.
    """
    from ..options import CompileOptions

    ranges = parse_ranges(range_ or ())
    return CompileOptions(
        target=target,
        cpu=cpu,
        features=tuple(part for part in features.split(",") if part),
        shapes=parse_shapes(shape or (), ranges),
        ranges=ranges,
        best=parse_values(best or (), "--best"),
        states=parse_states(state),
        bindings=read_bindings(bind),
        precision=precision,
        threads=threads,
        jobs=jobs,
        **others,
    )


def quantization(recipe: Path | None, quantize: str | None) -> dict[str, Any]:
    """The fields of `CompileOptions` that ``--recipe`` and ``--quantize`` say: a recipe, or a way that needs none.

    Raises:
        UsageError: both are given, or a kind of quantization that takes data and so has no ranges yet.
    """
    from ..library.signature import QUANTIZED

    if quantize is None:
        return {"recipe": recipe}
    if quantize in QUANTIZED:
        return {"recipe": recipe, "quantize": quantize}
    if recipe is not None:
        raise UsageError("there are two recipes", where="--recipe, --quantize", hint="give one of them")
    if quantize in NEED_DATA:
        raise UsageError(
            f"{quantize} needs the ranges of the model's tensors, which its data shows",
            where=f"--quantize {quantize}",
            hint="tilewright quantize MODEL --calibration DATA -o RECIPE.json, then --quantize RECIPE.json",
        )
    return {"recipe": Path(quantize)}


def read_inputs(
    library: AnyLibrary,
    options: list[str] | None,
    *,
    random_inputs: bool,
    seed: int,
    only_given: bool = False,
    model: Path | None = None,
    at_values: list[str] | None = None,
) -> dict[str, Any]:
    """The inputs of a library from the command line; what is not given is random where that is allowed.

    With `model`, random integers stay within the bounds that it shows. Of a library for a range, the inputs that are
    given say how large the others are, and after them `at_values`.

    Raises:
        TensorError: an input is unknown or missing, or its words are no numbers of its dtype.
        DataError: a file is missing or damaged.
    """
    from ..inputs.random_inputs import random_inputs as random
    from ..library.dimensions import at, sizes_of_call

    signature = library.signature
    tensors = parse_tensors(options or (), "--input")
    wanted = parse_values(at_values or (), "--at")
    values = sizes_of_call(signature, tensors, {name: each[0] for name, each in wanted.items()})
    specs = {spec.name: at(spec, signature.dimensions, values) for spec in signature.model_inputs}
    given: dict[str, Any] = {}
    for name, value in tensors.items():
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
    if only_given:
        return given
    bounds: dict[str, int] = {}
    if model is not None and any(not spec.dtype.startswith(("float", "bfloat")) for spec in missing):
        from ... import frontends
        from ..inputs.input_ranges import integer_bounds
        from ..inputs.requests import request_for

        bounds = integer_bounds(frontends.open(model, request_for(signature.model_inputs)))
    return {**random(missing, seed, bounds), **given}


def read_bindings(options: list[str] | None) -> dict[str, Any]:
    """The arrays of ``--bind``.

    Raises:
        UsageError: one is no file.
        DataError: a file is missing or damaged.
    """
    import numpy as np

    values = parse_tensors(options or (), "--bind")
    for name, value in values.items():
        if not isinstance(value, np.ndarray):
            raise UsageError(f"the value of {name!r} is not a file", where="--bind", hint=f"--bind {name}=@value.npy")
    return dict(values)

"""What a Python program calls: `compile`, `load`, `tune`. Importing this module imports no compiler."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from .build import build
from .options import CompileOptions
from .process.temporary import TemporaryFolder

if TYPE_CHECKING:
    import numpy as np

    from ..frontends import OpenedModel
    from ..targets import Target
    from .calibration.findings import Findings
    from .library.artifact import CompiledModel
    from .process.progress import ProgressCallback
    from .recipes.recipe import Recipe
    from .tuning.session import Progress

__all__ = ["compile", "load", "open", "quantize", "tune"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def compile(
    model: Any,
    target: str | Target = "host",
    *,
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] = _NOTHING,
    shapes: Mapping[str, Sequence[int | str]] = _NOTHING,
    ranges: Mapping[str, tuple[int, int]] = _NOTHING,
    best: Mapping[str, Sequence[int]] = _NOTHING,
    states: Mapping[str, str] | None = None,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
    output: str | os.PathLike[str] | None = None,
    name: str | None = None,
    emit: str = "so",
    cpu: str | None = None,
    features: Sequence[str] = (),
    threads: int | None = None,
    precision: str = "fp32",
    quantize: str | None = None,
    records: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    passes: Sequence[str] = (),
    save_ir: str | os.PathLike[str] | None = None,
    keep_temps: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    arena: int | None = None,
    progress: ProgressCallback | None = None,
) -> CompiledModel:
    """Compiles a model and loads the result.

    Args:
        model: as `open` takes it, or what that gave.
        example_inputs, example_kwargs: what a PyTorch model is called with, as `open` has them.
        output: the library to write; its header goes beside it. Without it the library lives as long as the result.
        progress: called as progress(stage, done, total) while it works.
        target, shapes, ranges, best, states, bindings, name, cpu, features, threads, precision, quantize, records,
            recipe, passes, save_ir, keep_temps, jobs, arena: as `CompileOptions` has them.
        emit: ``so``; `build` writes static libraries too.

    Returns:
        The compiled model, ready to run.

    Raises:
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    options = CompileOptions(
        target=target,
        cpu=cpu,
        features=features,
        shapes=shapes,
        ranges=ranges,
        best=best,
        states=states,
        bindings=bindings,
        name=name,
        emit=emit,
        threads=threads,
        precision=precision,
        quantize=quantize,
        records=records,
        recipe=recipe,
        passes=passes,
        save_ir=save_ir,
        keep_temps=keep_temps,
        jobs=jobs,
        arena=arena,
    )
    if emit != "so":
        raise UsageError(
            f"emit={emit!r} gives nothing that can be loaded",
            where="compile",
            hint="use tilewright.compiler.build.build, or the command line",
        )
    if example_inputs is not None or example_kwargs:
        model = open(model, example_inputs, example_kwargs, shapes=shapes, ranges=ranges)
    folder = None
    if output is None:
        folder = TemporaryFolder()
        output = folder.path / "model.so"
    try:
        build(model, output, options, progress=progress)
        compiled = load(output)
    except BaseException:
        if folder is not None:
            folder.remove()
        raise
    if folder is not None:
        weakref.finalize(compiled, folder.remove)
    return compiled


def open(
    model: Any,
    example_inputs: Any = None,
    example_kwargs: Mapping[str, Any] = _NOTHING,
    *,
    shapes: Mapping[str, Sequence[int | str]] = _NOTHING,
    ranges: Mapping[str, tuple[int, int]] = _NOTHING,
) -> OpenedModel:
    """Opens a model once, for `compile`, `verify` and `tune` alike: a framework's model is exported and checked here.

    Args:
        model: path of an .onnx, .pt2, .pt (TorchScript), .tflite, .keras or .h5 file or of a SavedModel's folder; an
            onnx.ModelProto, a torch.nn.Module, an ExportedProgram, or a Keras model.
        example_inputs: what a torch.nn.Module is called with: a tensor, or a tuple of positional arguments, which may
            be containers of tensors. An ExportedProgram has its own.
        example_kwargs: its keyword arguments.
        shapes: full shapes of inputs by name, for models of TensorFlow or TorchScript that leave them open; and for
            every model that is to be compiled for ranges, with their dimensions.
        ranges: the dimensions in `shapes` for which the model stays open, as `compile` takes them.

    Raises:
        ModelError: the model is damaged, or its export computes something else.
        UnsupportedError: its framework cannot export it.
        UsageError: it is no model, or example inputs are missing; or a shape or a range says what cannot be.
        ToolError: its framework is not installed.
    """
    from .. import frontends
    from .extents.ranges import static_shapes, varying_axes

    given = example_inputs if example_inputs is None or isinstance(example_inputs, tuple) else (example_inputs,)
    asked = CompileOptions(shapes=shapes, ranges=ranges)
    request = frontends.Request(given, example_kwargs, static_shapes(asked), varying_axes(asked))
    return frontends.open(model, request)


def load(path: str | os.PathLike[str]) -> CompiledModel:
    """Loads a library that `compile` wrote; needs numpy alone, never TVM.

    Raises:
        LibraryError: the file is missing, damaged, or no library of Tilewright.
        UnsupportedVersionError: a newer Tilewright wrote it.
        UnsupportedTargetError: it is for another machine.
    """
    from .library import artifact

    return artifact.load(Path(path))


def tune(
    model: Any,
    *,
    records: str | os.PathLike[str],
    seconds: float | None = None,
    trials: int | None = None,
    options: CompileOptions | None = None,
    devices: Sequence[str] = (),
    seed: int = 0,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Searches for faster schedules of a model here or on devices, and appends what it finds to a file of records.

    `compile` takes that file as `records`. What it holds already is not measured again.

    Args:
        model: as `compile` takes it.
        records: a .jsonl file; it need not exist.
        seconds, trials: when to stop at the latest: time, and choices measured. It also stops when nothing more is to
            be won.
        options: how the model will be compiled: its target is this machine or that of the devices, and choices are
            for its number of threads.
        devices: where choices are measured, as `--device` writes them, for a target that is not this machine; of a
            farm all devices that it has.
        seed: of the search.
        tell: called with how far it is, whenever there is news.

    Returns:
        For each workload of the model the default's time and the fastest choice.

    Raises:
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    from .tuning import run

    return run.tune(
        model,
        Path(records),
        options or CompileOptions(),
        seconds=seconds,
        trials=trials,
        seed=seed,
        devices=devices,
        tell=tell,
    )


def quantize(
    model: Any,
    calibration: Any = None,
    *,
    weights_only: str | None = None,
    dynamic: bool = False,
    output: str | os.PathLike[str] | None = None,
    options: CompileOptions | None = None,
    bits: int = 8,
    granularity: str = "channel",
    keep_float: Sequence[str] = (),
    images: str = "",
    correct: bool | Sequence[str] = True,
    details: bool = True,
    progress: ProgressCallback | None = None,
) -> Findings:
    """Finds how a model is quantized, from samples of its inputs, and what that costs in accuracy.

    `compile` takes the result's `recipe`, or the file that is written, as `recipe`.

    Args:
        model: as `compile` takes it.
        calibration: the path of an .npz or .npy file, of an image, or of a folder of them; arrays by the inputs' names;
            or an iterable of dicts, tuples or arrays. None: possible where no ranges are needed, and errors are not
            measured then.
        weights_only: ``int8`` or ``int4``: weights of dense layers alone become integers, activations stay floats.
        dynamic: whether dense layers multiply integers whose scales are settled for each row when the model runs.
        output: the recipe to write. What was calibrated so far stands beside it, and a call that was cut off goes on.
        options: how the model will be compiled: target, shapes, threads.
        bits: of activations and weights.
        granularity: what shares a scale of weights: ``channel`` or ``tensor``.
        keep_float: layers that stay float.
        images: how images become inputs: ``resize=256,crop=224,mean=0.485:0.456:0.406,layout=NCHW``.
        correct: whether channels are balanced, weights rounded by second order, and biases corrected, each where that
            lowers the error on samples that are held out; or the names of those that may be: ``channels``,
            ``rounding``, ``biases``.
        details: whether the error of each layer is measured.
        progress: called as progress(stage, done, total) while it works.

    Returns:
        The recipe, metrics of the whole model, and for each layer its error, time and bytes.

    Raises:
        CalibrationError, DataError: the data does not fit the model, shows no ranges, or cannot be read.
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    from .calibration.correct import corrections_of
    from .calibration.dense import quantize_dense
    from .calibration.images import parse_preprocessing
    from .calibration.quantize import quantize as found_for
    from .calibration.request import Request
    from .recipes.dense import WAYS, way_of
    from .recipes.files import write_recipe
    from .recipes.sections import GRANULARITIES, check_option

    way = way_of(weights_only, dynamic, has_samples=calibration is not None)
    place = None if output is None else Path(output)
    request = Request(
        options=options or CompileOptions(),
        bits=bits,
        granularity=check_option("granularity", granularity, GRANULARITIES),
        keep_float=tuple(keep_float),
        corrections=corrections_of(correct),
        details=details,
        images=parse_preprocessing(images) if images else None,
        state=None if place is None else place.with_name(place.name + ".calibration.npz"),
    )
    tell = progress or (lambda stage, done, total: None)
    if way is None:
        found = found_for(model, calibration, request, tell)
    else:
        found = quantize_dense(model, WAYS[way], calibration, request, tell)
    if place is not None:
        write_recipe(found.recipe, place)
    return found

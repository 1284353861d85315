"""What a Python program calls: `compile`, `load`, `verify`, `tune`. Importing this module imports no compiler."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import ModelError, OutputError, UnsupportedError, UsageError
from .library.naming import check_name, identifier
from .library.signature import MAX_THREADS, PRECISIONS
from .process import interrupt
from .process.failures import failures_named
from .process.install import install, replaceable
from .process.temporary import TemporaryFolder
from .process.work_folder import is_built_in, prepare
from .verification.verify import verify

if TYPE_CHECKING:
    import numpy as np

    from ..targets import Target
    from .library.artifact import CompiledModel
    from .process.progress import ProgressCallback

__all__ = ["compile", "load", "tune", "verify"]

EMIT_KINDS = ("so", "a", "c")
_NOTHING: Mapping[str, Any] = MappingProxyType({})

# TVM's builders keep what they are at in variables of the process: threads compile one after the other.
_tvm = threading.RLock()


def compile(
    model: Any,
    target: str | Target = "host",
    *,
    shapes: Mapping[str, Sequence[int]] = _NOTHING,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
    output: str | os.PathLike[str] | None = None,
    name: str | None = None,
    emit: str = "so",
    cpu: str | None = None,
    features: Sequence[str] = (),
    threads: int | None = None,
    precision: str = "fp32",
    records: str | os.PathLike[str] | None = None,
    save_ir: str | os.PathLike[str] | None = None,
    keep_temps: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> CompiledModel:
    """Compiles a model and loads the result.

    Args:
        model: path of an .onnx file, or an onnx.ModelProto.
        target: ``host``, an LLVM triple, or a `Target`.
        shapes: full shapes of inputs by name; needed for those with unknown dimensions.
        bindings: inputs that get a constant value; the library no longer has them.
        output: the library to write; its header goes beside it. Without it the library lives as long as the result.
        name: prefix of the C symbols; by default made from the file's name.
        emit: ``so``; `compile_to_file` writes static libraries too.
        cpu, features: LLVM's names of a CPU, and of features as ``+name`` or ``-name``; for a `target` given as text.
        threads: 1 builds without threads; None uses the processors there are at run time.
        precision: ``fp32``; ``bf16``: operands of products, weights and most results in bfloat16, sums in float32;
            ``fp16``: weights stored in float16. Where the target cannot, a `PrecisionWarning` and ``fp32``.
        records: results of the tuner to apply, a .jsonl file.
        save_ir: a folder for the module after each pass.
        keep_temps: a folder for sources and objects.
        jobs: processes that compile kernels, at most one a core; None: as many as there are kernels enough for.
        progress: called as progress(stage, done, total) while it works.

    Returns:
        The compiled model, ready to run.

    Raises:
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    if emit != "so":
        raise UsageError(
            f"emit={emit!r} gives nothing that can be loaded",
            where="compile",
            hint="use tilewright.compiler.api.compile_to_file, or the command line",
        )
    folder = None
    if output is None:
        folder = TemporaryFolder()
        output = folder.path / "model.so"
    try:
        path = compile_to_file(
            model,
            output,
            target,
            shapes=shapes,
            bindings=bindings,
            name=name or ("model" if folder else None),
            cpu=cpu,
            features=features,
            threads=threads,
            precision=precision,
            records=records,
            save_ir=save_ir,
            keep_temps=keep_temps,
            jobs=jobs,
            progress=progress,
        )
        compiled = load(path)
    except BaseException:
        if folder is not None:
            folder.remove()
        raise
    if folder is not None:
        weakref.finalize(compiled, folder.remove)
    return compiled


@failures_named
def compile_to_file(
    model: Any,
    output: str | os.PathLike[str],
    target: str | Target = "host",
    *,
    shapes: Mapping[str, Sequence[int]] = _NOTHING,
    bindings: Mapping[str, np.ndarray[Any, Any]] = _NOTHING,
    name: str | None = None,
    emit: str = "so",
    cpu: str | None = None,
    features: Sequence[str] = (),
    threads: int | None = None,
    precision: str = "fp32",
    records: str | os.PathLike[str] | None = None,
    save_ir: str | os.PathLike[str] | None = None,
    keep_temps: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Compiles a model to a library and its header, for this machine or another; arguments as `compile`'s.

    The files appear whole and together, or not at all.

    Returns:
        The path of the library.

    Raises:
        ModelError, ShapeError, UnsupportedError, UsageError, OutputError, ToolError: see `tilewright.errors`.
    """
    tell = progress or _silent
    place = Path(output)
    # TVM takes seconds to load: what is wrong most often is told before.
    _check_options(emit, precision, threads, jobs)
    symbol = check_name(name) if name else identifier(place.stem)
    _check_files(model, place)
    _make_folders(place, save_ir, keep_temps)
    tell("load TVM", 0, 0)
    from .. import frontends
    from ..targets import parse
    from . import pipeline
    from .codegen import kernel_objects
    from .emission import emit as emission
    from .precision import possible
    from .process import workers

    emission.check_output(place)
    machine = parse(target, cpu=cpu, features=tuple(features)) if isinstance(target, str) else target
    if threads is not None:
        machine = machine.with_cores(threads)
    precision = possible(precision, machine)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_tvm)
        tell("import", 0, 0)
        imported = frontends.load(frontends.open(model), shapes=shapes, bindings=bindings)
        # The workers start while the passes run, so that they are ready when there are kernels for them.
        count = kernel_objects.worker_count(jobs, imported.module)
        helpers = stack.enter_context(workers.started(count, kernel_objects.__name__))
        module = pipeline.build(
            imported,
            machine,
            threads=threads,
            precision=precision,
            records=None if records is None else Path(records),
            save_ir=None if save_ir is None else Path(save_ir),
            on_progress=tell,
        )
        emission.emit(
            module,
            name=symbol,
            output_names=imported.output_names,
            input_names=imported.input_names,
            target=machine,
            output=place,
            threads=threads,
            kind=emit,
            precision=precision,
            keep_temps=None if keep_temps is None else Path(keep_temps),
            workers=helpers,
            publish=_publish,
            progress=tell,
        )
    return place


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
    model: Any, *, records: str | os.PathLike[str], seconds: float | None = None, trials: int | None = None
) -> None:
    """Would search for the best schedules of a model on a device.

    Raises:
        UnsupportedError: always: the tuner is not in this version.
    """
    raise UnsupportedError(
        "the tuner is not in this version",
        where="tune",
        hint="compile without records: the schedules' defaults are computed from the target and need no tuning",
    )


def _check_options(emit: str, precision: str, threads: int | None, jobs: int | None) -> None:
    if emit not in EMIT_KINDS:
        raise UsageError(f"unknown kind of output {emit!r}", where="--emit", hint="one of " + ", ".join(EMIT_KINDS))
    if emit == "c":
        raise UnsupportedError(
            "C sources are not in this version", where="--emit c", hint="emit a static library with --emit a"
        )
    if precision not in PRECISIONS:
        raise UsageError(
            f"unknown precision {precision!r}", where="--precision", hint="one of " + ", ".join(PRECISIONS)
        )
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UsageError(f"{threads} threads are not possible", where="--threads", hint=f"give 1 to {MAX_THREADS}")
    if jobs is not None and jobs < 1:
        raise UsageError(f"{jobs} processes are not possible", where="--jobs", hint="give 1 or more")


def _check_files(model: Any, place: Path) -> None:
    """Whether the model is there, and the library's place is none that must not be replaced."""
    if not place.name:
        raise OutputError("the output is a folder", where=str(place), hint="give the library a name: -o model.so")
    if isinstance(model, str | os.PathLike):
        if not Path(model).exists():
            raise ModelError("the model file does not exist", where=os.fspath(model))
        for written in (place, place.with_suffix(".h")):
            if written.exists() and written.samefile(model):
                raise OutputError("the output would replace the model", where=str(place), hint="give it another name")
    replaceable(place)


def _make_folders(
    place: Path, save_ir: str | os.PathLike[str] | None, keep_temps: str | os.PathLike[str] | None
) -> None:
    if save_ir is not None:
        try:
            Path(save_ir).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"the folder cannot be made: {error.strerror}", where=os.fspath(save_ir)) from error
    if keep_temps is not None:
        prepare(Path(keep_temps))
        if is_built_in(place, Path(keep_temps)):
            raise OutputError(
                "the library has the name of one of the files to keep",
                where=str(place),
                hint="give another folder with --keep-temps",
            )


def _publish(files: Mapping[Path, Path]) -> None:
    try:
        with interrupt.shielded():
            install(dict(files))
    except OSError as error:
        raise OutputError(
            f"the output cannot be written: {error.strerror or error}",
            where=str(error.filename2 or error.filename or next(iter(files.values()))),
            hint="nothing was left there; free some space or give another place with -o",
        ) from error


def _silent(stage: str, done: int, total: int) -> None:
    """Progress that nobody asked for."""

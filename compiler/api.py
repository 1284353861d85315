"""What a Python program calls: `compile`, `load`, `tune`. Importing this module imports no compiler."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..errors import UnsupportedError, UsageError
from .build import build
from .options import CompileOptions
from .process.temporary import TemporaryFolder

if TYPE_CHECKING:
    import numpy as np

    from ..targets import Target
    from .library.artifact import CompiledModel
    from .process.progress import ProgressCallback

__all__ = ["compile", "load", "tune"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


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
    passes: Sequence[str] = (),
    save_ir: str | os.PathLike[str] | None = None,
    keep_temps: str | os.PathLike[str] | None = None,
    jobs: int | None = None,
    progress: ProgressCallback | None = None,
) -> CompiledModel:
    """Compiles a model and loads the result.

    Args:
        model: path of an .onnx file, or an onnx.ModelProto.
        output: the library to write; its header goes beside it. Without it the library lives as long as the result.
        progress: called as progress(stage, done, total) while it works.
        target, shapes, bindings, name, cpu, features, threads, precision, records, passes, save_ir, keep_temps, jobs:
            as `CompileOptions` has them.
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
        bindings=bindings,
        name=name,
        emit=emit,
        threads=threads,
        precision=precision,
        records=records,
        passes=passes,
        save_ir=save_ir,
        keep_temps=keep_temps,
        jobs=jobs,
    )
    if emit != "so":
        raise UsageError(
            f"emit={emit!r} gives nothing that can be loaded",
            where="compile",
            hint="use tilewright.compiler.build.build, or the command line",
        )
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

"""Whatever a compile meets becomes one error of ours: it names the model, and the stage where nothing else does."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ...errors import CompilerError, OutOfMemoryError, OutputError, TilewrightError
from ...failures import failing_in, reason_of

if TYPE_CHECKING:
    from .progress import ProgressCallback

_Compile = TypeVar("_Compile", bound=Callable[..., Any])


def failures_named(compile_one: _Compile) -> _Compile:
    """Decorates a compile, whose first argument is the model and which has an option `progress`."""

    @functools.wraps(compile_one)
    def named(model: Any, *more: Any, progress: ProgressCallback | None = None, **options: Any) -> Any:
        watched = _Watched(progress)
        with _named(model, watched):
            return compile_one(model, *more, progress=watched, **options)

    return cast(_Compile, named)


class _StoppedError(BaseException):
    """What the caller's own `progress` raised, on its way out: no stage may take it for a failure of its own."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Watched:
    """The caller's `progress`, which remembers the stage that was announced last."""

    def __init__(self, progress: ProgressCallback | None) -> None:
        self._progress = progress
        self.stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.stage = stage
        if self._progress is None:
            return
        try:
            self._progress(stage, done, total)
        except BaseException as error:
            raise _StoppedError(error) from error


@contextlib.contextmanager
def _named(model: Any, watched: _Watched) -> Iterator[None]:
    """Turns whatever a stage raises into an error of ours that names the model, and the stage if nothing else does."""
    file = os.fspath(model) if isinstance(model, str | os.PathLike) else type(model).__name__

    def stage(error: BaseException) -> str | None:
        ours = isinstance(error, CompilerError | OutOfMemoryError) or not isinstance(error, TilewrightError)
        return f"stage '{watched.stage}'" if ours and watched.stage else None

    try:
        with failing_in(file, "the compile failed", inside=stage, writes_files=True):
            yield
    except _StoppedError as stopped:
        raise stopped.error from None
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise OutputError(f"a file cannot be written: {reason}", where=str(error.filename or file)) from error

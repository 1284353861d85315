"""What a library's functions return, as its header says, and the errors that stand for it."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path

from ...errors import DeviceError, TilewrightError, UnsupportedTargetError
from .native_library import NativeLibrary
from .signature import Signature

_ERROR_CPU = 1


def check_status(status: int, path: Path, signature: Signature, library: NativeLibrary) -> None:
    """Raises what a status stands for.

    Raises:
        UnsupportedTargetError: this processor lacks instructions that the library uses.
        DeviceError: the GPU that it is for, or its driver, is not there or failed.
        TilewrightError: something else was wrong.
    """
    if not status:
        return
    error = getattr(library.functions, f"{signature.name}_error", None)
    if error is not None:
        error.restype = ctypes.c_char_p
        raise DeviceError((error() or b"").decode(errors="replace"), where=str(path))
    if status == _ERROR_CPU:
        raise UnsupportedTargetError(
            "this processor lacks instructions that the library uses",
            where=str(path),
            hint=f"it needs {', '.join(signature.cpu_features)}: compile it for this machine's --mcpu",
        )
    raise TilewrightError(f"the library failed with code {status}", where=str(path))


@contextlib.contextmanager
def enough_memory(path: Path, workspace_bytes: int) -> Iterator[None]:
    """Names a library whose call there is not enough memory for.

    Raises:
        TilewrightError: in place of a MemoryError.
    """
    try:
        yield
    except MemoryError as error:
        raise TilewrightError(
            f"there is not enough memory: {error}",
            where=str(path),
            hint=f"a call needs {workspace_bytes} bytes beside its inputs and outputs",
        ) from error

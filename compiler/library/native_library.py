"""Loads the code of a library so that it is the file's, whatever was loaded from the same place before.

The C library's `dlopen` gives the library that it has already when it hears a name again, or finds a file with the
same number: after a model was compiled anew that is the old code, or, where a file was overwritten, a mixture. So each
library is opened by a name of its own, a way of writing ``/proc/self/fd/N``. Small ones are copied into memory first,
their weights to large pages, and stay as they were checked whatever becomes of the file. Large ones are mapped from the
file, since processes then share their weights; a copy is made only if code of that file is in the process already,
which may have been another.

Models of the same file with the same contents share the code, and so the thread pool. When the last is gone, the code
is unloaded.
"""

from __future__ import annotations

import _ctypes
import contextlib
import ctypes
import itertools
import mmap
import os
import tempfile
import threading
import weakref
from pathlib import Path

from ...errors import LibraryError
from .large_pages import use_large_pages
from .library_file import LibraryFile
from .tensor_spec import TensorSpec

COPIED_BYTES = 32 << 20  # up to here

_DESCRIPTORS = "/proc/self/fd/"
_Key = tuple[tuple[int, int], bytes]

_lock = threading.Lock()
_loaded: weakref.WeakValueDictionary[_Key, NativeLibrary] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


class NativeLibrary:
    """Code in this process; unloaded when nobody has this object any more."""

    def __init__(self, functions: ctypes.CDLL) -> None:
        self.functions = functions
        # At the end of the process nothing is unloaded: other threads may still run.
        weakref.finalize(self, _ctypes.dlclose, functions._handle).atexit = False


def load_native(file: LibraryFile, descriptor: int, data: mmap.mmap) -> NativeLibrary:
    """Loads what `library_file.opened` gave.

    Raises:
        LibraryError: it cannot be loaded, or its code and its signature disagree.
    """
    key = (file.identity, file.digest)
    with _lock:
        library = _loaded.get(key)
        if library is None:
            try:
                library = _load(file, descriptor, data, copied=len(data) <= COPIED_BYTES or _is_loaded(file))
            except (OSError, AttributeError) as error:
                raise LibraryError(f"the library cannot be loaded: {error}", where=str(file.path)) from error
            _loaded[key] = library
    return library


def _load(file: LibraryFile, descriptor: int, data: mmap.mmap, *, copied: bool) -> NativeLibrary:
    if copied:
        copy = _copy(data)
        try:
            library = _open(copy, file.path)
            use_large_pages(copy)
        finally:
            os.close(copy)
    else:
        library = _open(descriptor, file.path)
    if _is_another(library.functions, file):
        raise LibraryError("the library's code and its signature disagree", where=str(file.path))
    _check_sizes(library.functions, file)
    return library


def _is_loaded(file: LibraryFile) -> bool:
    """Whether code of this very file is in the process, whoever loaded it: the file may have been another then."""
    path, number = os.path.realpath(file.path), str(file.identity[1])
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
            _, access, _, _, node, *name = line.split(maxsplit=5)
            if "x" in access and (node == number or name == [path]):
                return True
    return False


def _open(descriptor: int, path: Path) -> NativeLibrary:
    if not Path(_DESCRIPTORS).exists():
        return NativeLibrary(ctypes.CDLL(str(path.resolve())))
    # "./" and "/" lead nowhere else, and make as many names as are needed.
    number = "".join(("/", "./")[int(bit)] for bit in f"{next(_numbers):b}")
    return NativeLibrary(ctypes.CDLL(f"{_DESCRIPTORS}{number}{descriptor}"))


def _copy(data: mmap.mmap) -> int:
    """A file without a name, in memory where Linux gives one."""
    try:
        descriptor = os.memfd_create("tilewright", os.MFD_CLOEXEC)
    except (AttributeError, OSError):
        with tempfile.TemporaryFile(prefix="tilewright-") as file:
            descriptor = os.dup(file.fileno())
    with memoryview(data) as rest:
        start = 0
        while start < len(rest):
            start += os.write(descriptor, rest[start:])
    return descriptor


def _is_another(functions: ctypes.CDLL, file: LibraryFile) -> bool:
    signature = functions[f"{file.signature.name}_signature"]
    signature.restype = ctypes.c_void_p
    address = signature()
    return not address or ctypes.string_at(address, len(file.text) + 1) != file.text + b"\0"


def _check_sizes(functions: ctypes.CDLL, file: LibraryFile) -> None:
    signature = file.signature
    said = [signature.workspace_bytes, *_sizes(signature.inputs), *_sizes(signature.outputs)]
    found = [_number(functions, f"{signature.name}_workspace_size")]
    for group, specs in (("input", signature.inputs), ("output", signature.outputs)):
        found.append(_number(functions, f"{signature.name}_num_{group}s"))
        found += [_number(functions, f"{signature.name}_{group}_bytes", i) for i in range(len(specs))]
    if said != found:
        raise LibraryError(
            "the library's code and its signature disagree about sizes",
            where=str(file.path),
            hint="compile the model again",
        )


def _sizes(specs: tuple[TensorSpec, ...]) -> list[int]:
    return [len(specs), *(spec.nbytes for spec in specs)]


def _number(functions: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = functions[name]
    function.restype = ctypes.c_int if not arguments and "_num_" in name else ctypes.c_size_t
    return int(function(*map(ctypes.c_int, arguments)))

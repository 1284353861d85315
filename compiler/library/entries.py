"""The functions of a loaded library, called with the addresses of tensors; each thread has a workspace for them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ToolError
from .dimensions import c_arguments
from .library_file import LibraryFile
from .native_library import NativeLibrary
from .plan import ALIGNMENT
from .status import check_status, enough_memory


class Entries:
    """What there is to call.

    Attributes:
        run: ``NAME_run``.
    """

    def __init__(self, file: LibraryFile, library: NativeLibrary) -> None:
        self._file = file
        self._library = library
        self._local = threading.local()
        self.run = self.named("run")

    def named(self, name: str) -> Any:
        """A function of the library's interface, by its name without the prefix."""
        return self._library.functions[f"{self._file.signature.name}_{name}"]

    def hidden(self, name: str, *more: Any) -> Any:
        """A function that the symbol table has alone, which takes what `run` takes and some more, by its ctypes.

        Raises:
            ToolError: the library was stripped.
        """
        pointers = 4 if self._file.signature.dimensions else 3
        return self.at(name, *[ctypes.c_void_p] * pointers, *more)

    def at(self, name: str, *parameters: Any) -> Any:
        """A function that the symbol table has alone, by the ctypes of its parameters.

        Raises:
            ToolError: the library was stripped.
        """
        if name not in self._file.hidden_entries:
            raise ToolError(
                "the library has no symbol table, so its kernels cannot be timed",
                where=str(self._file.path),
                hint="use the file as this version of Tilewright writes it, before strip",
            )
        run = ctypes.cast(self.run, ctypes.c_void_p).value or 0
        return ctypes.CFUNCTYPE(ctypes.c_int, *parameters)(run + self._file.hidden_entries[name])

    def call(
        self, entry: Any, sources: Sequence[int], results: Sequence[int], values: Mapping[str, int], *more: Any
    ) -> None:
        """Calls one.

        Args:
            sources, results: addresses of inputs and outputs, in order.
            values: of the dimensions.
            more: what it takes behind them.

        Raises:
            TilewrightError: what its status stands for.
        """
        pointers = [(ctypes.c_void_p * max(1, len(group)))(*group) for group in (sources, results)]
        signature = self._file.signature
        status = entry(*pointers, ctypes.c_void_p(self._workspace()), *c_arguments(signature, values), *more)
        check_status(status, self._file.path, signature, self._library)

    def _workspace(self) -> int:
        """The address of this thread's workspace; 0 where the library has its own, in the memory of a device."""
        if self._file.signature.device:
            return 0
        address: int | None = getattr(self._local, "address", None)
        if address is None:
            size = self._file.signature.workspace_bytes
            with enough_memory(self._file.path, size):
                memory = self._local.memory = np.empty(size + ALIGNMENT, np.uint8)
            address = self._local.address = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
        return address

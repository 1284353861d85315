"""NVIDIA's driver, as Python uses it beside libraries: memory, streams and events, and what a GPU says of itself.

Streams are numbers, as C has them: 0 is the default one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from ...errors import DeviceError

_LIBRARY = "libcuda.so.1"
_NAME_BYTES = 128
_NO_BARRIERS, _NO_TIMES = 1, 2
# Of the driver's enumeration of what there is to know of a GPU.
_MULTIPROCESSORS, _L2_BYTES, _MAJOR, _MINOR = 16, 38, 75, 76


class Driver:
    """The driver of this machine."""

    def __init__(self) -> None:
        """Loads it.

        Raises:
            DeviceError: there is no driver, or no GPU.
        """
        try:
            self._library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise DeviceError("there is no NVIDIA driver on this machine", details=[str(error)]) from error
        self._contexts: dict[int, ctypes.c_void_p] = {}
        self.call("cuInit", 0)

    def call(self, function: str, *arguments: Any) -> None:
        """Calls a function of the driver by its name.

        Raises:
            DeviceError: it failed.
        """
        status = getattr(self._library, function)(*arguments)
        if status:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(status, ctypes.byref(text))
            raise DeviceError(f"{(text.value or b'?').decode(errors='replace')} ({function}: error {status})")

    @contextmanager
    def on(self, device: int) -> Iterator[None]:
        """Makes the primary context of a GPU this thread's."""
        self.call("cuCtxPushCurrent_v2", self._context(device))
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def use(self, device: int = 0) -> None:
        """Makes the primary context of a GPU this thread's, from now on."""
        self.call("cuCtxSetCurrent", self._context(device))

    def name(self, device: int = 0) -> str:
        """What a GPU is called."""
        name = ctypes.create_string_buffer(_NAME_BYTES)
        self.call("cuDeviceGetName", name, _NAME_BYTES, self._handle(device))
        return name.value.decode(errors="replace")

    def architecture(self, device: int = 0) -> str:
        """Of a GPU, as nvcc calls it: ``sm_80``."""
        return f"sm_{self._attribute(_MAJOR, device)}{self._attribute(_MINOR, device)}"

    def multiprocessors(self, device: int = 0) -> int:
        """How many a GPU has."""
        return self._attribute(_MULTIPROCESSORS, device)

    def l2_bytes(self, device: int = 0) -> int:
        """The size of a GPU's last cache."""
        return self._attribute(_L2_BYTES, device)

    def allocate(self, size: int) -> int:
        """Memory of the GPU whose context is current, at least a byte; its address."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        return address.value

    def release(self, address: int) -> None:
        """Gives memory back, when all that was launched before is done."""
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    def upload(self, to: int, source: int, size: int) -> None:
        """Copies bytes from the memory of the machine; both are addresses."""
        self.call("cuMemcpyHtoD_v2", ctypes.c_uint64(to), ctypes.c_void_p(source), ctypes.c_size_t(size))

    def download(self, to: int, source: int, size: int) -> None:
        """Copies bytes to the memory of the machine; both are addresses."""
        self.call("cuMemcpyDtoH_v2", ctypes.c_void_p(to), ctypes.c_uint64(source), ctypes.c_size_t(size))

    def stream(self) -> int:
        """A new stream of the current context, which does not wait for the default one."""
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), _NO_BARRIERS)
        return stream.value or 0

    def wait(self, stream: int = 0) -> None:
        """Until everything in a stream is done."""
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    def let_wait(self, stream: int, other: int) -> None:
        """Lets what comes into a stream wait for what another has by now."""
        event = self._event(_NO_TIMES)
        self.call("cuEventRecord", event, ctypes.c_void_p(other))
        self.call("cuStreamWaitEvent", ctypes.c_void_p(stream), event, 0)
        self.call("cuEventDestroy_v2", event)

    def module(self, code: bytes) -> ctypes.c_void_p:
        """Loads what nvcc made into the current context."""
        module = ctypes.c_void_p()
        self.call("cuModuleLoadData", ctypes.byref(module), code)
        return module

    def function(self, module: ctypes.c_void_p, name: str) -> ctypes.c_void_p:
        """A kernel of a module."""
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return function

    def seconds(self, function: ctypes.c_void_p, blocks: int, threads: int, addresses: Sequence[int]) -> float:
        """Launches a kernel into the default stream, and says how long it ran.

        Args:
            blocks, threads: of the grid, along x alone.
            addresses: of memory, its arguments.
        """
        values = [ctypes.c_uint64(address) for address in addresses]
        pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
        before, after, milliseconds = self._event(), self._event(), ctypes.c_float()
        self.call("cuEventRecord", before, None)
        self.call("cuLaunchKernel", function, blocks, 1, 1, threads, 1, 1, 0, None, pointers, None)
        self.call("cuEventRecord", after, None)
        self.call("cuEventSynchronize", after)
        self.call("cuEventElapsedTime", ctypes.byref(milliseconds), before, after)
        for event in (before, after):
            self.call("cuEventDestroy_v2", event)
        return milliseconds.value / 1e3

    def _context(self, device: int) -> ctypes.c_void_p:
        if device not in self._contexts:
            context = ctypes.c_void_p()
            self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self._handle(device))
            self._contexts[device] = context
        return self._contexts[device]

    def _event(self, flags: int = 0) -> ctypes.c_void_p:
        event = ctypes.c_void_p()
        self.call("cuEventCreate", ctypes.byref(event), flags)
        return event

    def _attribute(self, number: int, device: int) -> int:
        value = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(value), number, self._handle(device))
        return value.value

    def _handle(self, device: int) -> ctypes.c_int:
        handle = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(handle), device)
        return handle


@cache
def driver() -> Driver:
    """The driver, loaded once.

    Raises:
        DeviceError: there is none, or no GPU.
    """
    return Driver()

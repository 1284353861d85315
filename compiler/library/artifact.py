"""The loader: a compiled library as a Python object. ctypes and numpy alone; TVM is never imported.

The library's signature is read from the file and checked before any of its code runs.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...dtypes import numpy_dtype
from ...errors import LibraryError, OutputError, TensorError, UnsupportedTargetError, UsageError
from ...targets.cuda.driver import driver
from ..process.install import install
from .archive import is_archive, read_archive
from .arrays import as_memory, check_names, checked, results_of, states_after
from .dimensions import at, bounds_of
from .entries import Entries
from .library_file import LibraryFile, opened
from .native_library import NativeLibrary, load_native
from .on_device import device_call, gpu_of, handle_of, results_on_device
from .session import Session
from .signature import Signature, check_threads
from .status import enough_memory
from .tensor_spec import TensorSpec

Array = npt.NDArray[Any]
Sizes = Mapping[str, int]
_LARGEST: Sizes = MappingProxyType({})
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class CompiledModel:
    """A loaded library. Threads may call it at the same time: each call has a workspace of its own.

    Attributes:
        path: the file.
        signature: all that the library says about itself.
    """

    def __init__(self, file: LibraryFile, library: NativeLibrary) -> None:
        self.path = file.path
        self.signature = file.signature
        self._digest = file.digest
        self._entries = Entries(file, library)

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What the model takes, in order."""
        return self.signature.model_inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What the model gives, in order."""
        return self.signature.model_outputs

    @property
    def precision(self) -> str:
        """What it multiplies and stores in: ``fp32``, ``bf16`` or ``fp16``."""
        return self.signature.precision

    @property
    def workspace_bytes(self) -> int:
        """Bytes of memory that one call uses beside its inputs, outputs and the weights."""
        return self.signature.workspace_bytes

    @property
    def target(self) -> str:
        """The triple that it was compiled for."""
        return self.signature.triple

    @property
    def c_function(self) -> Any:
        """``NAME_run`` as ctypes sees it: it can be called while this object is there."""
        return self._entries.run

    @property
    def c_async_function(self) -> Any:
        """``NAME_run_async`` of a library for a GPU, the same way."""
        return self._entries.named("run_async")

    def run(self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] = _NOTHING) -> dict[str, Any]:
        """Runs the model once.

        Args:
            inputs: arrays by name, of the exact shapes and dtypes: numpy's, or anything with ``__dlpack__``, which a
                library for a GPU takes there, too. Of a library for a range of sizes their shapes say what the
                dimensions of the call are.
            outputs: memory of that kind for results, some of them or all.

        Returns:
            Arrays by name, new ones where no memory was given. Where any tensor is on a GPU, so are all new ones: as
            `DeviceTensor`, which is for ``torch.from_dlpack`` and the like.

        Raises:
            TensorError: an input is missing, or one is unknown, or has another shape or dtype.
            UnsupportedTargetError: this processor lacks instructions that the library uses.
            DeviceError: the GPU that it is for, or its driver, is not there or failed.
        """
        if self.signature.device and (device := gpu_of(inputs, outputs)) is not None:
            results = self.run_async(inputs, outputs)
            with driver().on(device):
                driver().wait()
            return results
        arrays, values = checked(self.signature, inputs, str(self.path))
        results = self._outputs(arrays, values, outputs)
        return {**results, **self._states(arrays, values)} if self.signature.states else results

    def run_async(
        self, inputs: Mapping[str, Any], outputs: Mapping[str, Any] = _NOTHING, *, stream: Any = 0
    ) -> dict[str, Any]:
        """Launches a run on a GPU, and does not wait for it; its tensors have to stay until it is done.

        Args:
            inputs, outputs: as `run` takes them.
            stream: of PyTorch, of CuPy, or its number as the driver has it; 0: the default one.

        Returns:
            The results by name, `DeviceTensor`s where no memory was given: whoever takes them by DLPack waits.

        Raises:
            UsageError: the library is not for a GPU.
            TensorError, DeviceError: as `run`.
        """
        if not self.signature.device:
            raise UsageError("the library runs on processors, where there are no streams", where=str(self.path))
        handle, device = handle_of(stream), gpu_of(inputs, outputs) or 0
        call = device_call(self.signature, str(self.path), inputs, outputs, device, handle)
        with driver().on(device):
            self._entries.call(self.c_async_function, call.sources, call.results, call.values, ctypes.c_void_p(handle))
        return results_on_device(self.signature, call.outputs)

    def __call__(self, *inputs: Any) -> Array | tuple[Array, ...]:
        """Runs the model on inputs in order; returns its output, or a tuple when there are several."""
        if len(inputs) != len(self.inputs):
            raise TensorError(
                f"the model takes {len(self.inputs)} inputs, and {len(inputs)} were given",
                where=str(self.path),
                hint="it takes: " + ", ".join(map(str, self.inputs)),
            )
        results = self.run({spec.name: value for spec, value in zip(self.inputs, inputs, strict=True)})
        values = tuple(results[spec.name] for spec in self.outputs)
        return values[0] if len(values) == 1 else values

    def session(self) -> Session:
        """Calls of which each finds the states as the one before left them.

        Raises:
            UsageError: the library has no states.
        """
        return Session(self.signature, str(self.path), self._outputs)

    def _states(self, arrays: Sequence[Array], values: Mapping[str, int]) -> dict[str, Array]:
        """What a call on some inputs has left in states."""
        memory = dict(zip((spec.name for spec in self.signature.inputs), arrays, strict=True))
        return states_after(self.signature, memory, values)

    def _outputs(self, arrays: Sequence[Array], values: Sizes, given: Mapping[str, Any] = _NOTHING) -> dict[str, Array]:
        outputs = self.empty_outputs(values, given)
        self._call(self._entries.run, arrays, outputs, values)
        return results_of(self.signature, outputs)

    def profile(
        self,
        inputs: Mapping[str, Any],
        times: npt.NDArray[np.uint64] | None = None,
        outputs: Sequence[Array] | None = None,
    ) -> list[int]:
        """Runs once and returns the nanoseconds of each of `signature.steps`.

        Args:
            times: where they are written as the run goes on: 0 first, and each when its step is done.
            outputs: where results go, as of `empty_outputs`: used before, no step waits for the system to clear them.

        Raises:
            ToolError: the library was stripped, so the entry for profiling cannot be found.
        """
        entry = self._entries.hidden("profile", ctypes.c_void_p, ctypes.c_size_t)
        arrays, values = checked(self.signature, inputs, str(self.path))
        outputs = self.empty_outputs(values) if outputs is None else outputs
        times = np.zeros(len(self.signature.steps), np.uint64) if times is None else times
        self._call(entry, arrays, outputs, values, ctypes.c_void_p(times.ctypes.data), ctypes.c_size_t(times.size))
        return [int(value) for value in times]

    def simulate(self, inputs: Mapping[str, Any], threads: int) -> tuple[dict[str, Array], Array]:
        """Runs once, every parallel loop as the tasks of so many threads, one task after the other in this one.

        Returns:
            The outputs, and the uint64 numbers of ``runtime/simulation.c``: for each launch the number of its tasks and
            the nanoseconds of each; at the end of a step 0, its place in `signature.steps`, the nanoseconds outside.

        Raises:
            ToolError: the library was stripped.
            UsageError: it was built for one thread, or cannot use so many.
        """
        self._need_threads()
        check_threads(threads)
        pointer = ctypes.c_void_p
        entry = self._entries.hidden("simulate", ctypes.c_int, pointer, ctypes.c_size_t, pointer)
        arrays, values = checked(self.signature, inputs, str(self.path))
        outputs = self.empty_outputs(values)
        # Two loops a step are more than most have; where there is too little room, once more.
        stream, used = np.zeros(0, np.uint64), ctypes.c_size_t(len(self.signature.steps) * 2 * (threads + 4))
        while len(stream) <= used.value:
            stream = np.zeros(used.value + 1, np.uint64)
            room = pointer(stream.ctypes.data), len(stream), ctypes.byref(used)
            self._call(entry, arrays, outputs, values, threads, *room)
        return {**results_of(self.signature, outputs), **self._states(arrays, values)}, stream[: used.value]

    def hand_offs(self, count: int) -> tuple[int, list[int]]:
        """Shares an empty loop among the threads that the pool has.

        Args:
            count: how often; fewer where that takes longer than a second.

        Returns:
            How many threads took part, and the nanoseconds of each time.

        Raises:
            ToolError: the library was stripped.
            UsageError: it was built for one thread.
        """
        self._need_threads()
        entry = self._entries.at("hand_off", ctypes.c_void_p, ctypes.c_size_t)
        times = np.zeros(count, np.uint64)
        threads = entry(times.ctypes.data, count)
        return threads, [int(value) for value in times if value]

    def set_num_threads(self, threads: int) -> None:
        """Sets how many threads parallel loops use; 0 is the default. Results do not depend on it.

        Raises:
            UsageError: the number is negative or too large, or the library was built with one thread.
        """
        if not self.signature.threaded and threads in (0, 1):
            return
        self._need_threads()
        set_num_threads = self._entries.named("set_num_threads")
        check_threads(threads, least=0)
        set_num_threads(threads)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copies the library, and its header when that stands beside it.

        Raises:
            OutputError: the place cannot be written or is full; it is left as it was.
            LibraryError: the file from which this was loaded is gone, or another by now.
        """
        place = Path(path)
        with opened(self.path) as (file, _, _):
            if file.digest != self._digest:
                raise LibraryError("another library stands where this one was loaded from", where=str(self.path))
        copies = {self.path: place, self.path.with_suffix(".h"): place.with_suffix(".h")}
        wanted = {s: p for s, p in copies.items() if s.exists() and s.resolve() != p.resolve()}
        try:
            install(wanted)
        except OSError as error:
            raise OutputError(f"the library cannot be saved: {error.strerror}", where=str(place)) from error

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"CompiledModel({self.signature.name}: ({inputs}) -> ({outputs}), {self.target})"

    def _need_threads(self) -> None:
        if not self.signature.threaded:
            raise UsageError(
                "the library was built for one thread", where="--threads", hint="compile it without --threads 1"
            )

    def _call(
        self, entry: Any, inputs: Sequence[Array], outputs: Sequence[Array], values: Sizes = _LARGEST, *more: Any
    ) -> None:
        sources, results = ([array.ctypes.data for array in group] for group in (inputs, outputs))
        self._entries.call(entry, sources, results, values, *more)

    def empty_outputs(self, values: Sizes = _LARGEST, given: Mapping[str, Any] = _NOTHING) -> list[Array]:
        """Memory for one run: an array like each of `signature.outputs`.

        Args:
            values: of the dimensions; those that are not there are at their bounds.
            given: what is used for some of them.

        Raises:
            TensorError: something given is no such memory.
            TilewrightError: there is not so much.
        """
        dimensions, specs = self.signature.dimensions, self.signature.outputs
        if given is not _NOTHING:
            check_names(specs, given, str(self.path), of="output")
        if dimensions:
            specs = tuple(at(spec, dimensions, {**bounds_of(dimensions), **values}) for spec in specs)
        with enough_memory(self.path, self.workspace_bytes):
            return [
                as_memory(given[spec.name], spec)
                if spec.name in given
                else np.empty(spec.shape, numpy_dtype(spec.dtype))
                for spec in specs
            ]


def load(path: str | os.PathLike[str]) -> CompiledModel:
    """Loads a library.

    Raises:
        LibraryError: the file is missing, damaged, or no library of Tilewright.
        UnsupportedVersionError: a newer Tilewright wrote it.
        UnsupportedTargetError: it is for another machine.
    """
    with opened(Path(path)) as (file, descriptor, data):
        # Linux's name of a machine says more than ELF's: it begins with that.
        if not platform.machine().startswith(file.machine):
            raise UnsupportedTargetError(
                f"the library is for {file.signature.triple}, and this machine is {platform.machine()}",
                where=str(file.path),
                hint="run it elsewhere: --device qemu, --device ssh:USER@HOST",
            )
        return CompiledModel(file, load_native(file, descriptor, data))


def read_file(path: str | os.PathLike[str]) -> LibraryFile:
    """A shared library, or a program of ``--emit bench``, for any machine; it is checked, and nothing of it is run.

    Raises:
        LibraryError, UnsupportedVersionError: as `load`.
    """
    with opened(Path(path)) as (file, _, _):
        return file


def read_signature(path: str | os.PathLike[str]) -> Signature:
    """What a library, shared or static, says about itself; nothing of it is run, and it may be for any machine.

    Raises:
        LibraryError, UnsupportedVersionError: as `load`.
    """
    if is_archive(Path(path)):
        return read_archive(Path(path))
    with opened(Path(path)) as (file, _, _):
        return file.signature

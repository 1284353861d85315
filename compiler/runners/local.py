"""The runner of this process: libraries are loaded into it, and called through their C interface."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable

import numpy as np

from ...dtypes import numpy_dtype
from ..library.arrays import checked
from ..library.artifact import CompiledModel, load
from ..library.dimensions import at, c_arguments
from ..library.plan import ALIGNMENT
from .runner import Array, Inputs, Library


class LocalRunner:
    """Runs libraries in this process. Buffers are kept from one timing to the next of the same library and inputs."""

    def __init__(self) -> None:
        self._prepared: tuple[Library, Inputs, Callable[[], object]] | None = None

    def run(self, library: Library, inputs: Inputs) -> dict[str, Array]:
        """Runs once.

        Raises:
            TensorError: an input is missing, unknown, or has another shape or dtype.
            UnsupportedTargetError: this processor lacks instructions that the library uses.
        """
        return _loaded(library).run(inputs)

    def time(self, library: Library, inputs: Inputs, *, runs: int = 1, seconds: float = 0) -> list[float]:
        """The seconds of each of at least so many runs, in at least so many seconds.

        Raises:
            TensorError, UnsupportedTargetError: as `run`.
        """
        known = self._prepared
        if known is None or known[0] is not library or known[1] is not inputs:
            self._prepared = known = (library, inputs, prepared(_loaded(library), inputs))
        return time_runs(known[2], runs, seconds)


def prepared(model: CompiledModel, inputs: Inputs) -> Callable[[], object]:
    """A function that calls the library through its C interface, on buffers that are made once.

    Raises:
        TensorError: an input is missing, unknown, or has another shape or dtype.
        UnsupportedTargetError: this processor lacks instructions that the library uses.
    """
    model.run(inputs)  # all that can be wrong is told here
    signature = model.signature
    sources, values = checked(signature, inputs, str(model.path))
    outputs = [at(spec, signature.dimensions, values) for spec in signature.outputs]
    results = [np.empty(spec.shape, numpy_dtype(spec.dtype)) for spec in outputs]
    workspace = np.empty(0 if signature.device else signature.workspace_bytes + ALIGNMENT, np.uint8)
    aligned = ctypes.c_void_p(0 if signature.device else -(-workspace.ctypes.data // ALIGNMENT) * ALIGNMENT)
    pointers = [(ctypes.c_void_p * max(1, len(group)))(*[a.ctypes.data for a in group]) for group in (sources, results)]

    run, dimensions = model.c_function, c_arguments(signature, values)

    def call(_alive: object = (model, sources, results, workspace)) -> None:  # pointers do not keep their memory
        run(*pointers, aligned, *dimensions)

    return call


def time_runs(run: Callable[[], object], runs: int, seconds: float = 0) -> list[float]:
    """The seconds of each of at least `runs` runs, as many as fit into `seconds`."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < runs or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def _loaded(library: Library) -> CompiledModel:
    return library if isinstance(library, CompiledModel) else load(library.path)

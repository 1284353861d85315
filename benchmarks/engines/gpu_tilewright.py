"""Tilewright on a GPU: the library that was built beforehand, beside the model's inputs."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path

import tilewright
from tilewright.compiler.library.device_tensor import DeviceTensor
from tilewright.errors import DeviceError
from tilewright.targets.cuda.driver import driver

from ..not_available import NotAvailableError
from .engine import Array, Job, Session


def library_of(model: Path, precision: str) -> Path:
    """Where a model's library is, beside the model."""
    return model.with_name(f"{model.stem}.{precision}.so")


def load(job: Job, inputs: Mapping[str, Array], *, precision: str) -> Session:
    """The library, on tensors in the memory of the GPU that are made once."""
    path = library_of(job.model, precision)
    if not path.exists():
        raise NotAvailableError(f"{path.name} was not built: python -m benchmarks.cuda build")
    library, gpu = tilewright.load(path), driver()
    gpu.use()
    stream = gpu.stream()
    given = {name: DeviceTensor.of(value) for name, value in inputs.items()}
    results = library.run_async(given, stream=stream)
    sources = (ctypes.c_void_p * max(1, len(given)))(*[given[spec.name].address for spec in library.inputs])
    targets = (ctypes.c_void_p * max(1, len(results)))(*[results[spec.name].address for spec in library.outputs])
    launch, handle = library.c_async_function, ctypes.c_void_p(stream)

    def run(_alive: object = (given, results)) -> None:  # addresses do not keep their memory
        if launch(sources, targets, None, handle):
            raise DeviceError("a run failed")
        gpu.wait(stream)

    return Session(lambda: [each.numpy() for each in library.run(given).values()], run)

"""What the GPU of this machine can do at most: operations, and bytes read from its cache and its memory, a second.

Measured as that of processors is (`machine_peak.py`): short rounds, of which the best one counts. The kernels are
compiled by nvcc, here or beforehand (`peak_code`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache

import numpy as np

from ...targets import parse
from ...targets.cuda import peak
from ...targets.cuda.driver import Driver, driver
from ...targets.cuda.nvcc import find_nvcc
from ...targets.peak import PeakLoop
from ...targets.target import DotUnit
from ...targets.toolchain import find_toolchain
from ..library.signature import Signature
from ..process import interrupt
from .machine_peak import MemoryLevel, Peak

_ROUND_SECONDS = 0.002
_LEVEL_SECONDS = 0.05  # of all rounds of one measurement
_LEAST_ROUNDS = 3
_FIRST_PASSES = 16
_STREAM_L2S = 8  # memory is read in a stream that so many caches would hold
_READ_BYTES = 16  # that a thread reads at a time
_TENSOR_CORES = ("tensor_cores", "warp_groups")  # the templates of kernels that use a unit


def unit_of_grids(signature: Signature) -> DotUnit | None:
    """The unit that a library for a GPU multiplies with; None: float32 multiply-adds."""
    if not any(kernel.template in _TENSOR_CORES for kernel in signature.kernels):
        return None
    target = parse(signature.triple, cpu=signature.cpu)
    dtypes = {"fp16": "float16", "bf16": "bfloat16", "fp32": "int8"}  # float32 is no unit's
    units = target.rounding_units if signature.precision == "tf32" else target.units
    wanted = dtypes.get(signature.precision)
    return next((unit for unit in units if wanted in (None, unit.lhs)), None)


@cache
def measured_device_peak(unit: DotUnit | None = None, code: bytes | None = None) -> Peak:
    """The ceilings of the first GPU; measured once in a process, which takes half a second.

    Args:
        unit: what multiplies; by default float32 multiply-adds.
        code: of `peak_code`, for the GPU; by default compiled now.

    Raises:
        ToolError: there is no nvcc.
        DeviceError: there is no driver, or no GPU.
    """
    gpu = driver()
    code = code if code is not None else peak_code(unit, gpu.architecture())
    with gpu.on(0):
        module, l2_bytes, multiprocessors = gpu.module(code), gpu.l2_bytes(), gpu.multiprocessors()
        blocks = peak.BLOCKS * multiprocessors
        stream = gpu.allocate(_STREAM_L2S * l2_bytes)
        multiply, read = gpu.function(module, peak.MULTIPLY), gpu.function(module, peak.READ)

        def reading(size: int) -> float:
            def seconds(passes: int) -> float:
                with _Numbers(gpu, size // _READ_BYTES, passes) as given:
                    return gpu.seconds(read, blocks, peak.THREADS, (stream, given.address))

            return size / _best(seconds, 1)

        def multiplying(passes: int) -> float:
            with _Numbers(gpu, passes) as given:
                return gpu.seconds(multiply, blocks, peak.THREADS, (given.address,))

        try:
            flops = _loop(unit).flops * blocks * peak.THREADS / _best(multiplying, _FIRST_PASSES)
            memory = reading(_STREAM_L2S * l2_bytes)
            levels = (
                MemoryLevel("L2", l2_bytes, max(memory, reading(l2_bytes // 2))),
                MemoryLevel("memory", None, memory),
            )
        finally:
            gpu.release(stream)
    return Peak(flops, levels, multiprocessors, gpu.name())


def peak_code(unit: DotUnit | None, architecture: str) -> bytes:
    """The compiled kernels that measure a unit's peak on an architecture.

    Raises:
        ToolError: there is no nvcc.
    """
    nvcc, host = find_nvcc(), find_toolchain(parse("host").triple)
    with interrupt.temporary_folder() as folder:
        (folder / "peak.cu").write_text(peak.program(_loop(unit)))
        nvcc.toolchain().run(nvcc.command("peak.cu", "peak.fatbin", (architecture,), host), folder)
        return (folder / "peak.fatbin").read_bytes()


def _loop(unit: DotUnit | None) -> PeakLoop:
    return peak.FLOAT32 if unit is None or unit.peak is None else unit.peak()


def _best(seconds: Callable[[int], float], passes: int) -> float:
    """The seconds of one pass: so many first, then as many as make a round."""
    seconds(passes)  # wakes the GPU up
    passes = max(1, math.ceil(passes * _ROUND_SECONDS / max(seconds(passes), 1e-9)))
    best, rounds, end = math.inf, 0, time.perf_counter() + _LEVEL_SECONDS
    while rounds < _LEAST_ROUNDS or time.perf_counter() < end:
        best, rounds = min(best, seconds(passes)), rounds + 1
    return best / passes


class _Numbers:
    """Some numbers in the memory of the GPU."""

    def __init__(self, gpu: Driver, *numbers: int) -> None:
        self._gpu = gpu
        self._values = np.array(numbers, np.int64)

    def __enter__(self) -> _Numbers:
        self.address = self._gpu.allocate(self._values.nbytes)
        self._gpu.upload(self.address, self._values.ctypes.data, self._values.nbytes)
        return self

    def __exit__(self, *problem: object) -> None:
        self._gpu.release(self.address)

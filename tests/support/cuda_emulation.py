"""GPUs without a GPU: kernels that g++ compiles, and a driver that runs them on this machine (`cuda_emulator/`).

The libraries are those that a user gets but for the code of their kernels: steps, graphs, memory and copies are run by
the same glue.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import stat
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from cuda_emulator.nvcc import prepare
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.library.artifact import CompiledModel, load
from tilewright.compiler.options import CompileOptions

HERE = Path(__file__).parent / "cuda_emulator"
TRIPLE = "nvptx64-nvidia-cuda"


class Counts(ctypes.Structure):
    """What the emulated driver did, since the process began."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "allocations",
            "launches",
            "captures",
            "replays",
            "uploads",
            "copies",
            "waits",
            "orders",
            "early",
            "maps",
        )
    ]


class Emulation:
    """The emulated driver, loaded so that libraries find it under the driver's name."""

    def __init__(self, folder: Path) -> None:
        path = folder / "libcuda.so.1"
        flags = ("-O1", "-std=c++17", "-fPIC", "-shared", "-Wl,-soname,libcuda.so.1")
        subprocess.run(["g++", *flags, "-o", path, HERE / "driver.cpp", "-ldl"], check=True)
        self.driver = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
        self.nvcc = folder / "nvcc"
        prepare(folder)
        self.nvcc.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{HERE}/nvcc.py" "{folder}" "$@"\n')
        self.nvcc.chmod(self.nvcc.stat().st_mode | stat.S_IXUSR)
        self.driver.emulator.restype = ctypes.POINTER(Counts)

    @property
    def counts(self) -> dict[str, int]:
        """What it did so far."""
        found = self.driver.emulator().contents
        return {name: getattr(found, name) for name, _ in Counts._fields_}

    def allocated(self, size: int) -> int:
        """An address in the memory of the emulated GPU."""
        address = ctypes.c_uint64()
        assert self.driver.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size)) == 0
        return address.value


@cache
def _emulation(folder: Path) -> Emulation:
    return Emulation(folder)


@pytest.fixture(scope="session")
def emulated_driver(tmp_path_factory: pytest.TempPathFactory) -> Emulation:
    """The driver, once for all tests of a process."""
    if shutil.which("g++") is None:
        pytest.skip("the emulator of GPUs is compiled by g++")
    return _emulation(tmp_path_factory.getbasetemp())


@pytest.fixture
def emulation(emulated_driver: Emulation, monkeypatch: pytest.MonkeyPatch) -> Emulation:
    """The emulator, whose nvcc is the one that compiles find."""
    monkeypatch.setitem(os.environ, "NVCC", str(emulated_driver.nvcc))
    return emulated_driver


@cache
def _swish(nvcc: Path, folder: Path) -> CompiledModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NVCC", str(nvcc))
        build(swish_network(), folder / "net.so", CompileOptions(target=TRIPLE, cpu="sm_80", name="net", jobs=1))
    return load(folder / "net.so")


@pytest.fixture
def swish_on_gpu(emulated_driver: Emulation) -> CompiledModel:
    """The network of `swish_network` for the emulated GPU, which most tests need and none changes."""
    return _swish(emulated_driver.nvcc, emulated_driver.nvcc.parent)


@pytest.fixture
def inherited(emulated_driver: Emulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that are started find the emulator, too."""
    monkeypatch.setenv("LD_LIBRARY_PATH", str(emulated_driver.nvcc.parent))

"""NVIDIA's compiler of kernels: where it is found, and how it is called."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ToolError
from ..toolchain import Toolchain
from .architectures import architecture_named

_OLDEST = (12, 0)
_FOLDERS = ("CUDA_HOME", "CUDA_PATH")
_USUAL_FOLDER = Path("/usr/local/cuda")
_RELEASE = re.compile(r"release (\d+)\.(\d+)")
# Multiply-adds stand where TensorIR says so, and nowhere else. Not every place in a grid is used.
_FLAGS = ("-O3", "-std=c++17", "-fmad=false", "-diag-suppress", "177,550")
_PACKAGES = "nvidia-cuda-nvcc nvidia-cuda-runtime nvidia-cuda-crt nvidia-nvvm nvidia-cuda-cccl"
HINT = f"pip install {_PACKAGES}, install CUDA 12 or later, or set NVCC"


@dataclass(frozen=True)
class Nvcc:
    """NVIDIA's compiler.

    Attributes:
        path: the program.
        release: its version.
    """

    path: Path
    release: tuple[int, int]

    def toolchain(self) -> Toolchain:
        """As what runs commands."""
        return Toolchain("nvcc", (str(self.path),), ())

    def command(self, source: str, output: str, architectures: Sequence[str], host: Toolchain) -> list[str]:
        """What compiles a file of kernels for several architectures to one fat binary.

        For GPUs that come later it has assembly, too, where the last of them can give some. nvcc reads headers with the
        machine's own compiler of C: the one given, or where that is none that it knows, the one it finds.
        """
        reader = ("-ccbin", *host.cc) if len(host.cc) == 1 else ()
        return [str(self.path), *flags(architectures), *reader, "-o", output, source]


def flags(architectures: Sequence[str]) -> list[str]:
    """Of the compiler, for a fat binary of several architectures."""
    codes = [f"-gencode=arch={_virtual(name)},code={name}" for name in architectures]
    last = architecture_named(architectures[-1])
    if last is not None and last.runs_later:
        codes.append(f"-gencode=arch={_virtual(last.name)},code={_virtual(last.name)}")
    return ["-fatbin", *_FLAGS, *codes]


def _virtual(name: str) -> str:
    return name.replace("sm_", "compute_")


def find_nvcc() -> Nvcc:
    """The compiler: the one that NVCC names, of the PATH, of CUDA's folders, or of PyPI.

    Raises:
        ToolError: there is none, or it is too old.
    """
    found = next((path for path in _places() if path.is_file()), None)
    if found is None:
        raise ToolError("kernels for GPUs are compiled by nvcc, which is not here", where="nvcc", hint=HINT)
    release = _release(found)
    if release < _OLDEST:
        raise ToolError(
            f"this nvcc is of CUDA {release[0]}.{release[1]}, and 12 is the oldest that will do",
            where=str(found),
            hint=HINT,
        )
    return Nvcc(found, release)


def _places() -> Iterator[Path]:
    named = os.environ.get("NVCC")
    if named:
        yield Path(shutil.which(named) or named)
        return
    on_path = shutil.which("nvcc")
    if on_path:
        yield Path(on_path)
    yield from (Path(os.environ[name]) / "bin" / "nvcc" for name in _FOLDERS if os.environ.get(name))
    yield _USUAL_FOLDER / "bin" / "nvcc"
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield Path(folder) / "cuda_nvcc" / "bin" / "nvcc"
        yield from sorted(Path(folder).glob("cu*/bin/nvcc"), reverse=True)


def _release(path: Path) -> tuple[int, int]:
    try:
        text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToolError("nvcc does not run", where=str(path), details=[str(error)], hint=HINT) from error
    match = _RELEASE.search(text)
    if match is None:
        raise ToolError("this is no nvcc: it does not tell its release", where=str(path), hint=HINT)
    return int(match[1]), int(match[2])

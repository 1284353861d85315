"""Libraries for Windows and macOS: they link, need nothing of ours, and export the API alone. Objects for ARM."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from exports import API_FUNCTIONS, exports_of_dll, exports_of_dylib, name_of_dll, name_of_dylib
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.options import CompileOptions

API = sorted(f"net_{name}" for name in (*API_FUNCTIONS, "set_num_threads"))


def made(folder: Path, triple: str, name: str, **options: Any) -> bytes:
    asked = CompileOptions(triple, name="net", jobs=1, **options)
    build(swish_network(), folder / name, asked)
    return (folder / name).read_bytes()


@pytest.mark.slow  # zig builds the C library of Windows first, which takes minutes
def test_a_dll(tmp_path: Path) -> None:
    data = made(tmp_path, "x86_64-windows-gnu", "net.dll", threads=2)

    assert sorted(exports_of_dll(data)) == API
    assert name_of_dll(data) == "net.dll"
    assert b"__TVM" not in data and str(tmp_path).encode() not in data


@pytest.mark.parametrize("triple", ["arm64-macos", pytest.param("x86_64-macos", marks=pytest.mark.slow)])
def test_a_dylib(triple: str, tmp_path: Path) -> None:
    data = made(tmp_path, triple, "net.dylib", threads=2)

    assert exports_of_dylib(data) == API
    assert name_of_dylib(data) == "@rpath/net.dylib"
    assert b"__TVM" not in data


@pytest.mark.slow
def test_a_program_for_windows(tmp_path: Path) -> None:
    data = made(tmp_path, "x86_64-windows-gnu", "net.exe", threads=1, emit="bench")

    assert data.startswith(b"MZ")


def test_nothing_of_arm_needs_what_unwinds(tmp_path: Path) -> None:
    """A kernel of this model saves so many registers that its table is a long one."""
    library, objects = tmp_path / "net.a", tmp_path / "objects"
    model = str(Path(__file__).parents[2] / "models" / "deeplab_v3.onnx")
    build(model, library, CompileOptions("armv7-linux-gnueabihf", cpu="cortex-a7", emit="a", name="net", jobs=1))
    objects.mkdir()
    subprocess.run(["ar", "x", library], cwd=objects, check=True)

    symbols = [each for path in sorted(objects.iterdir()) for each in Elf(path.read_bytes()).symbols()]

    assert {"net_run", "memcpy"} <= {each.name for each in symbols}
    unwinding = [each for each in symbols if "unwind" in each.name]
    assert {each.name for each in unwinding} == {"__aeabi_unwind_cpp_pr0", "__aeabi_unwind_cpp_pr1"}
    assert all(each.is_weak and not each.is_defined for each in unwinding)

"""Libraries for Windows and macOS: they link, need nothing of ours, and export the API alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from exports import API_FUNCTIONS, exports_of_dll, exports_of_dylib, name_of_dll, name_of_dylib
from small_models import swish_network
from tilewright.compiler.build import build
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

"""Libraries for Windows and macOS: they link, need nothing of ours, and export the API alone."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.codegen.object_files import FORMATS
from tilewright.compiler.options import CompileOptions
from tilewright.targets.systems import MACHO

FUNCTIONS = ("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes")
API = sorted(f"net_{name}" for name in (*FUNCTIONS, "set_num_threads"))


def made(folder: Path, triple: str, name: str, **options: Any) -> bytes:
    asked = CompileOptions(triple, name="net", jobs=1, **options)
    build(swish_network(), folder / name, asked)
    return (folder / name).read_bytes()


def exports_of_dll(data: bytes) -> list[str]:
    """Names in the export table of a PE32+ file (Microsoft's PE Format)."""
    (header,) = struct.unpack_from("<I", data, 0x3C)
    assert data[header : header + 4] == b"PE\0\0"
    sections, optional = struct.unpack_from("<H", data, header + 6)[0], struct.unpack_from("<H", data, header + 20)[0]
    (table,) = struct.unpack_from("<I", data, header + 24 + 112)
    rows = [struct.unpack_from("<4I", data, header + 24 + optional + 40 * n + 8) for n in range(sections)]

    def place(address: int) -> int:
        return next(address - first + at for size, first, _, at in rows if first <= address < first + size)

    count, _, names = struct.unpack_from("<3I", data, place(table) + 24)
    addresses = struct.unpack_from(f"<{count}I", data, place(names))
    return [data[place(each) : data.index(b"\0", place(each))].decode() for each in addresses]


def test_a_dll(tmp_path: Path) -> None:
    data = made(tmp_path, "x86_64-windows-gnu", "net.dll", threads=2)

    assert sorted(exports_of_dll(data)) == API
    assert b"__TVM" not in data and str(tmp_path).encode() not in data


@pytest.mark.parametrize("triple", ["arm64-macos", pytest.param("x86_64-macos", marks=pytest.mark.slow)])
def test_a_dylib(triple: str, tmp_path: Path) -> None:
    data = made(tmp_path, triple, "net.dylib", threads=2)

    exported = [symbol.name for symbol in FORMATS[MACHO].symbols(data) if symbol.is_defined]
    assert [name for name in sorted(exported) if name.startswith("net_")] == API
    assert {name for name in exported if not name.startswith("net_")} <= {
        "_mh_dylib_header",
        "__dso_handle",
    }  # the linker's own
    assert b"__TVM" not in data


@pytest.mark.slow
def test_a_program_for_windows(tmp_path: Path) -> None:
    data = made(tmp_path, "x86_64-windows-gnu", "net.exe", threads=1, emit="bench")

    assert data.startswith(b"MZ")

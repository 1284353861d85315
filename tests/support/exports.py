"""What libraries for Windows and macOS export."""

from __future__ import annotations

import struct
from collections.abc import Callable

from tilewright.compiler.codegen.object_files import FORMATS
from tilewright.targets.systems import MACHO

API_FUNCTIONS = ("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes")
_LC_ID_DYLIB = 0x0D
_OF_THE_LINKER = {"_mh_dylib_header", "__dso_handle"}


def _header_of_dll(data: bytes) -> int:
    (header,) = struct.unpack_from("<I", data, 0x3C)
    assert data[header : header + 4] == b"PE\0\0"
    return int(header)


def _exports_of_dll(data: bytes) -> int:
    """The address of its export table."""
    return int(struct.unpack_from("<I", data, _header_of_dll(data) + 24 + 112)[0])


def _places_of_dll(data: bytes) -> Callable[[int], int]:
    """Where in the file is what has an address."""
    header = _header_of_dll(data)
    sections, optional = struct.unpack_from("<H", data, header + 6)[0], struct.unpack_from("<H", data, header + 20)[0]
    rows = [struct.unpack_from("<4I", data, header + 24 + optional + 40 * n + 8) for n in range(sections)]

    def place(address: int) -> int:
        return int(next(address - first + at for size, first, _, at in rows if first <= address < first + size))

    return place


def exports_of_dll(data: bytes) -> list[str]:
    """Names in the export table of a PE32+ file (Microsoft's PE Format)."""
    place = _places_of_dll(data)
    count, _, names = struct.unpack_from("<3I", data, place(_exports_of_dll(data)) + 24)
    addresses = struct.unpack_from(f"<{count}I", data, place(names))
    return [data[place(each) : data.index(b"\0", place(each))].decode() for each in addresses]


def name_of_dll(data: bytes) -> str:
    """What a PE32+ file with an export table calls itself, which a program looks for that was linked with it."""
    place = _places_of_dll(data)
    (name,) = struct.unpack_from("<I", data, place(_exports_of_dll(data)) + 12)
    return data[place(name) : data.index(b"\0", place(name))].decode()


def name_of_dylib(data: bytes) -> str:
    """The name by which programs that were linked with a Mach-O library look for it (LC_ID_DYLIB)."""
    commands, at = struct.unpack_from("<I", data, 16)[0], 32
    for _ in range(commands):
        kind, length = struct.unpack_from("<2I", data, at)
        if kind == _LC_ID_DYLIB:
            (start,) = struct.unpack_from("<I", data, at + 8)
            return data[at + start : at + length].rstrip(b"\0").decode()
        at += length
    return ""


def exports_of_dylib(data: bytes) -> list[str]:
    """Names that a Mach-O library defines, in order, without the linker's own."""
    return sorted({symbol.name for symbol in FORMATS[MACHO].symbols(data) if symbol.is_defined} - _OF_THE_LINKER)

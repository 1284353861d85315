"""What libraries for Windows and macOS export."""

from __future__ import annotations

import struct

from tilewright.compiler.codegen.object_files import FORMATS
from tilewright.targets.systems import MACHO

API_FUNCTIONS = ("run", "signature", "workspace_size", "num_inputs", "num_outputs", "input_bytes", "output_bytes")
_OF_THE_LINKER = {"_mh_dylib_header", "__dso_handle"}


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


def exports_of_dylib(data: bytes) -> list[str]:
    """Names that a Mach-O library defines, in order, without the linker's own."""
    return sorted({symbol.name for symbol in FORMATS[MACHO].symbols(data) if symbol.is_defined} - _OF_THE_LINKER)

"""Libraries with other instructions in some function: kernels that crash, hang, or compute nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.library.integrity import seal
from tilewright.compiler.library.signature import SECTION

UNDEFINED, FOR_EVER = b"\x0f\x0b", b"\xeb\xfe"  # x86: an undefined instruction, a jump to itself
x86 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="overwrites instructions of x86")


def overwrite(path: Path, symbol: str, code: bytes) -> None:
    """Puts instructions at the beginning of a function of a library."""
    data = bytearray(path.read_bytes())
    elf = Elf(bytes(data))
    address = next(each.value for each in elf.symbols() if each.name == symbol and each.is_defined)
    table = int.from_bytes(data[32:40], "little")
    for entry in range(table, table + 56 * int.from_bytes(data[56:58], "little"), 56):
        words = [int.from_bytes(data[entry + at : entry + at + 8], "little") for at in (8, 16, 32)]
        offset, first, size = words
        if int.from_bytes(data[entry : entry + 4], "little") == 1 and first <= address < first + size:
            data[address - first + offset : address - first + offset + len(code)] = code
    path.write_bytes(data)
    seal(path, SECTION)

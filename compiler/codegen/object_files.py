"""Object files of every system: what they need, and how what they define is kept from whoever links a library.

ELF: `library/elf.py`. COFF: Microsoft's PE Format. Mach-O: Apple's <mach-o/loader.h> and <mach-o/nlist.h>. They come
from LLVM, so nothing in them is hostile.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...targets.systems import COFF, ELF, MACHO
from ..library.elf import Elf, hide_symbols, rename_symbol, weaken_symbols
from ..library.naming import COMMON_SYMBOLS, own_symbol


@dataclass(frozen=True)
class ObjectSymbol:
    """A global symbol, without the underscore that Mach-O puts before names in C; `at` is its entry's place."""

    name: str
    is_defined: bool
    at: int = 0


# Functions by which C++ unwinds through others on ARM. Tables that say how are in each object that calls something, and
# which of these reads them; kernels are never unwound.
UNWINDERS = tuple(f"__aeabi_unwind_cpp_pr{number}" for number in range(3))


@dataclass(frozen=True)
class ObjectFormat:
    """What can be done with the object files of a system.

    Attributes:
        symbols: the global symbols.
        hidden: the file, whose symbols no library exports, and which can be linked without `UNWINDERS`.
    """

    symbols: Callable[[bytes], Iterator[ObjectSymbol]]
    hidden: Callable[[bytes], bytes]


def _elf_symbols(data: bytes) -> Iterator[ObjectSymbol]:
    return (ObjectSymbol(each.name, each.is_defined) for each in Elf(data).symbols() if each.is_global)


def _elf_hidden(data: bytes) -> bytes:
    return weaken_symbols(hide_symbols(data), UNWINDERS)


_EXTERNAL, _WEAK_EXTERNAL = 2, 105
_ENTRY_BYTES, _SECTION_BYTES = 18, 40


def _coff_symbols(data: bytes) -> Iterator[ObjectSymbol]:
    table, count = struct.unpack_from("<II", data, 8)
    strings = table + count * _ENTRY_BYTES
    number = 0
    while number < count:
        at = table + number * _ENTRY_BYTES
        short, value, section, _, kind, more = struct.unpack_from("<8sIhHBB", data, at)
        zeros, offset = struct.unpack("<II", short)
        name = short.rstrip(b"\0") if zeros else _string(data, strings + offset)
        if kind in (_EXTERNAL, _WEAK_EXTERNAL):
            yield ObjectSymbol(name.decode(), section != 0 or value != 0 or kind == _WEAK_EXTERNAL, at)
        number += 1 + more


def _without_directives(data: bytes) -> bytes:
    """Without what LLVM tells the linker: to export all functions that are not static."""
    changed = bytearray(data)
    (sections,) = struct.unpack_from("<H", data, 2)
    for number in range(sections):
        name, _, _, size, place = struct.unpack_from("<8s4I", data, 20 + number * _SECTION_BYTES)
        if name == b".drectve":
            changed[place : place + size] = b" " * size
    return bytes(changed)


_SYMTAB = 2
_IS_EXTERNAL, _IS_PRIVATE, _KIND = 0x01, 0x10, 0x0E


def _macho_symbols(data: bytes) -> Iterator[ObjectSymbol]:
    (commands,) = struct.unpack_from("<I", data, 16)
    at = 32
    for _ in range(commands):
        command, size = struct.unpack_from("<II", data, at)
        if command == _SYMTAB:
            table, count, strings, _ = struct.unpack_from("<4I", data, at + 8)
            for entry in range(table, table + 16 * count, 16):
                name, kind = struct.unpack_from("<IB", data, entry)
                if kind & _IS_EXTERNAL:
                    text = _string(data, strings + name).decode().removeprefix("_")
                    yield ObjectSymbol(text, bool(kind & _KIND), entry)
        at += size


def _private(data: bytes) -> bytes:
    changed = bytearray(data)
    for symbol in _macho_symbols(data):
        if symbol.is_defined:
            changed[symbol.at + 4] |= _IS_PRIVATE
    return bytes(changed)


def _string(data: bytes, at: int) -> bytes:
    return data[at : data.index(b"\0", at)]


FORMATS = {
    ELF: ObjectFormat(_elf_symbols, _elf_hidden),
    COFF: ObjectFormat(_coff_symbols, _without_directives),
    MACHO: ObjectFormat(_macho_symbols, _private),
}


def with_own_symbols(data: bytes, object_format: str, name: str) -> bytes:
    """The file, with symbols that all libraries' code has in common called as in the library with this prefix."""
    for common in COMMON_SYMBOLS:
        if common.encode() not in data:
            continue
        own = own_symbol(common, name)
        # Where it is not ELF, nothing else in the file contains such a name.
        data = rename_symbol(data, common, own) if object_format == ELF else data.replace(common.encode(), own.encode())
    return data

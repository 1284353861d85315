"""Reads ELF files, and changes three things in the symbol table of object files. No dependencies.

Used to find undefined symbols in kernels, to hide kernels from other libraries, and by the loader to read a library's
signature before any of its code runs. Every offset is checked, as the file may be damaged or hostile.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from ...errors import LibraryError

MAGIC = b"\x7fELF"
MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv"}

_PT_LOAD = 1
_SHT_SYMTAB, _SHT_NOBITS, _SHT_DYNSYM = 2, 8, 11
_BIND_LOCAL, _BIND_GLOBAL, _BIND_WEAK = 0, 1, 2
_HIDDEN = 2


@dataclass(frozen=True)
class Section:
    """One section: its place in the file, and what its entries mean."""

    name: str
    kind: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True)
class Symbol:
    """One symbol: `value` is its address; `position` is where its entry stands in the file."""

    name: str
    value: int
    is_defined: bool
    is_global: bool
    is_weak: bool
    is_hidden: bool
    position: int
    name_position: int


class Elf:
    """An ELF file in memory, of 32 or 64 bits and either byte order.

    Raises:
        LibraryError: the bytes are no ELF file, or damaged.
    """

    def __init__(self, data: bytes | memoryview, where: str = "") -> None:
        self.data = data
        self.where = where
        if len(data) < 20 or bytes(data[:4]) != MAGIC or data[4] not in (1, 2) or data[5] not in (1, 2):
            raise LibraryError("the file is not an ELF library", where=where)
        self.is_64 = data[4] == 2
        self.order = "<" if data[5] == 1 else ">"
        (number,) = self._unpack("H", 18)
        self.machine = MACHINES.get(number, f"machine {number}")
        self.sections = self._read_sections()

    def section(self, name: str) -> bytes | None:
        """Contents of a section, or None when there is none of that name."""
        for section in self.sections:
            if section.name == name and section.kind != _SHT_NOBITS:
                return self._slice(section.offset, section.size)
        return None

    def segments(self) -> list[tuple[int, int]]:
        """The parts of the file that the loader maps: the first byte of each, and the first behind it."""
        return [(offset, offset + size) for offset, _, size in self._loaded()]

    def offset_of(self, address: int, size: int) -> int | None:
        """Where in the file so many bytes from an address on stand; None where no segment has all of them."""
        for offset, start, length in self._loaded():
            if start <= address and address + size <= start + length:
                return offset + address - start
        return None

    def _loaded(self) -> list[tuple[int, int, int]]:
        """The offset, the address and the size in the file of each segment that the loader maps."""
        (table,) = self._unpack(*(("Q", 32) if self.is_64 else ("I", 28)))
        entry_size, count = self._unpack("HH", 54 if self.is_64 else 42)
        found = []
        for i in range(count):
            kind, *fields = self._unpack("IIQQQQ" if self.is_64 else "IIIIII", table + i * entry_size)
            offset, address, size = (fields[1], fields[2], fields[4]) if self.is_64 else (*fields[:2], fields[3])
            if kind == _PT_LOAD:
                if offset + size > len(self.data):
                    raise self._damaged()
                found.append((offset, address, size))
        return found

    @property
    def is_program(self) -> bool:
        """Whether it can be started: it says where its code begins."""
        return self._unpack("Q" if self.is_64 else "I", 24)[0] != 0

    def section_fields(self) -> list[tuple[int, int]]:
        """Where the header speaks of sections, which are of no importance to the loader."""
        return [(40, 48), (60, 64)] if self.is_64 else [(32, 36), (48, 52)]

    def symbols(self, *, dynamic: bool = False) -> Iterator[Symbol]:
        """The symbols of .symtab, or of .dynsym."""
        entry = "IBBHQQ" if self.is_64 else "IIIBBH"
        size = struct.calcsize(self.order + entry)
        for section in self.sections:
            if section.kind != (_SHT_DYNSYM if dynamic else _SHT_SYMTAB) or section.link >= len(self.sections):
                continue
            strings = self.sections[section.link]
            for position in range(section.offset, section.offset + section.size - size + 1, size):
                fields = self._unpack(entry, position)
                if self.is_64:
                    name, info, other, index, value, _ = fields
                else:
                    name, value, _, info, other, index = fields
                yield Symbol(
                    name=self._string(strings, name),
                    value=value,
                    is_defined=index != 0,
                    is_global=info >> 4 in (_BIND_GLOBAL, _BIND_WEAK),
                    is_weak=info >> 4 == _BIND_WEAK,
                    is_hidden=other & 3 == _HIDDEN,
                    position=position,
                    name_position=strings.offset + name,
                )

    def _read_sections(self) -> tuple[Section, ...]:
        (table,) = self._unpack(*(("Q", 40) if self.is_64 else ("I", 32)))
        entry_size, count, names = self._unpack("HHH", 58 if self.is_64 else 46)
        # name, kind, flags, address, offset, size, link
        entry = "IIQQQQI" if self.is_64 else "IIIIIII"
        rows = [self._unpack(entry, table + i * entry_size) for i in range(count)]
        if names >= len(rows):
            raise self._damaged()
        strings = Section("", *(rows[names][i] for i in (1, 4, 5, 6)))
        return tuple(Section(self._string(strings, row[0]), *(row[i] for i in (1, 4, 5, 6))) for row in rows)

    def _unpack(self, layout: str, offset: int) -> tuple[int, ...]:
        try:
            return struct.unpack_from(self.order + layout, self.data, offset)
        except (struct.error, OverflowError):
            raise self._damaged() from None

    def _slice(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.data):
            raise self._damaged()
        return bytes(self.data[offset : offset + size])

    def _string(self, section: Section, offset: int) -> str:
        if offset >= section.size:
            raise self._damaged()
        chunk = self._slice(section.offset + offset, min(section.size - offset, 4096))
        return chunk.split(b"\0", 1)[0].decode("utf-8", "replace")

    def _damaged(self) -> LibraryError:
        return LibraryError("the ELF file is damaged or truncated", where=self.where)


def hide_symbols(data: bytes) -> bytes:
    """Makes the global symbols that an object file defines hidden: no library exports them, whoever links it."""
    changed = bytearray(data)
    elf = Elf(data)
    other = 5 if elf.is_64 else 13
    for symbol in elf.symbols():
        if symbol.is_global and symbol.is_defined:
            changed[symbol.position + other] = changed[symbol.position + other] & ~3 | _HIDDEN
    return bytes(changed)


def weaken_symbols(data: bytes, names: Collection[str]) -> bytes:
    """Lets an object file be linked without the functions of these names: where nothing defines one, it is 0."""
    changed = bytearray(data)
    elf = Elf(data)
    info = 4 if elf.is_64 else 12
    for symbol in elf.symbols():
        if symbol.name in names and symbol.is_global and not symbol.is_defined:
            changed[symbol.position + info] = changed[symbol.position + info] & 0xF | _BIND_WEAK << 4
    return bytes(changed)


def rename_symbol(data: bytes, old: str, new: str) -> bytes:
    """Renames a symbol of an object file to one of the same length.

    Strings in a symbol table may share their tails, so a shorter or longer name would need a new table.
    """
    if len(old) != len(new):
        raise ValueError(f"{old} and {new} differ in length")
    changed = bytearray(data)
    for symbol in Elf(data).symbols():
        if symbol.name == old:
            changed[symbol.name_position : symbol.name_position + len(old)] = new.encode()
    return bytes(changed)

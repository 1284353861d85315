"""Checksums over a whole library, written into it after linking and checked before any of its code runs.

They stand behind the signature, in its section:

    JSON, a zero byte, MAGIC, size of the file (8 bytes, little-endian), sum of what is loaded, sum of the rest

What is loaded are the bytes of the segments that the loader maps. The rest is everything else: the tables of sections
and symbols. `strip` removes some of that, so in a smaller file than the one written only the first sum holds, and
nothing but the segments may be trusted. The sums themselves, and the fields of the file's header that speak of
sections, do not belong to the first one.

A sum is made of the CRC-32 of each MiB, hashed: it finds every flipped bit, and is fast. It is no signature in the
sense of cryptography: who can change a library can seal it again.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import LibraryError
from .elf import Elf

MAGIC = b"\0tilewright-sums"
_SUM_BYTES = 16
_SIZE = struct.Struct("<Q")
RECORD_BYTES = len(MAGIC) + _SIZE.size + 2 * _SUM_BYTES
_PIECE_BYTES = 1 << 20

Range = tuple[int, int]  # first byte, first byte behind


@dataclass(frozen=True)
class Sealed:
    """A section whose sums were right.

    Attributes:
        text: what stands before the sums and its zero byte.
        digest: the same for the same library, whatever was stripped from it.
        is_whole: the file is as it was written; otherwise only what is loaded is.
    """

    text: bytes
    digest: bytes
    is_whole: bool


def record_placeholder() -> bytes:
    """What the section holds until `seal`."""
    return MAGIC + bytes(RECORD_BYTES - len(MAGIC))


def seal(path: Path, section: str) -> None:
    """Writes the sums of a library into its section.

    Raises:
        LibraryError: the file is no library with such a section.
    """
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data, memoryview(data) as view:
        elf = Elf(view, str(path))
        place = _place(elf, section)
        size = place + len(MAGIC)
        sums = size + _SIZE.size
        view[size:sums] = _SIZE.pack(len(view))
        view[sums : place + RECORD_BYTES] = b"".join(_sums(elf, place))


def check(elf: Elf, section: str) -> Sealed:
    """Compares the sums of a library with those in it.

    Raises:
        LibraryError: they differ, or there are none.
    """
    place = _place(elf, section)
    size = place + len(MAGIC)
    recorded = bytes(elf.data[size : place + RECORD_BYTES])
    if not any(recorded):
        raise LibraryError(
            "the library has no checksum: another tool linked it",
            where=elf.where,
            hint="load the .so file that `tilewright compile` wrote",
        )
    (written,) = _SIZE.unpack_from(recorded)
    loaded, rest = _sums(elf, place)
    is_whole = written == len(elf.data)
    sums = recorded[_SIZE.size :]
    if written < len(elf.data) or sums[:_SUM_BYTES] != loaded or (is_whole and sums[_SUM_BYTES:] != rest):
        raise LibraryError(
            "the library is damaged: its checksum does not match",
            where=elf.where,
            hint="copy or compile it again; of the tools that change libraries, only strip may be used",
        )
    start = next(each.offset for each in elf.sections if each.name == section)
    return Sealed(bytes(elf.data[start:place]), loaded, is_whole)


def _place(elf: Elf, section: str) -> int:
    """Where the record starts."""
    found = next((each for each in elf.sections if each.name == section), None)
    if found is None or found.size < RECORD_BYTES or found.offset + found.size > len(elf.data):
        raise LibraryError("the library was not written by Tilewright", where=elf.where)
    place = found.offset + found.size - RECORD_BYTES
    loaded = _merged(elf.segments())
    inside = any(start <= found.offset and place + RECORD_BYTES <= stop for start, stop in loaded)
    if not inside or bytes(elf.data[place : place + len(MAGIC)]) != MAGIC:
        raise LibraryError(
            "the library has no checksum",
            where=elf.where,
            hint="an older Tilewright wrote it, or it is damaged: compile the model again",
        )
    return place


def _sums(elf: Elf, place: int) -> tuple[bytes, bytes]:
    """The sums of what is loaded and of the rest."""
    loaded = _merged(elf.segments())
    sums = (place + len(MAGIC) + _SIZE.size, place + RECORD_BYTES)
    own = sorted([*elf.section_fields(), sums])
    gaps = _between(loaded, len(elf.data))
    return _sum(elf.data, loaded, own), _sum(elf.data, [*elf.section_fields(), *gaps], ())


def _sum(data: bytes | memoryview, ranges: Sequence[Range], but: Sequence[Range]) -> bytes:
    total = hashlib.blake2b(digest_size=_SUM_BYTES)
    for start, stop in ranges:
        total.update(struct.pack("<QQ", start, stop))
        for first, last in _without(start, stop, but):
            for piece in range(first, last, _PIECE_BYTES):
                total.update(zlib.crc32(data[piece : min(piece + _PIECE_BYTES, last)]).to_bytes(4, "little"))
    return total.digest()


def _merged(ranges: Sequence[Range]) -> list[Range]:
    """The same bytes in order, each once."""
    merged: list[Range] = []
    for start, stop in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def _between(ranges: Sequence[Range], size: int) -> list[Range]:
    """What lies before, between and behind ranges that are in order."""
    ends = [0, *(stop for _, stop in ranges)]
    starts = [*(start for start, _ in ranges), size]
    return [(end, start) for end, start in zip(ends, starts, strict=True) if end < start]


def _without(start: int, stop: int, but: Sequence[Range]) -> Iterator[Range]:
    """What is left of a range when others, in order, are taken out."""
    for first, last in but:
        if start < first < stop:
            yield start, first
        if start < last and first < stop:
            start = max(start, min(last, stop))
    if start < stop:
        yield start, stop

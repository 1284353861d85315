"""Weights of a loaded library on large pages.

A copy in memory lies in pages of 4 KiB wherever there was one: weights of 20 MB take a processor thousands of entries
of its table of pages, and small networks took 1.04 to 1.06 times as long as from a file (Zen 3, MobileNetV3 and
SqueezeNet). Linux gives large pages to memory that asks for them and has no file; such memory takes the place of what
the loader mapped.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_SETTINGS = Path("/sys/kernel/mm/transparent_hugepage")
_MAPS = Path("/proc/self/maps")
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 1, 2
_FAILED = ctypes.c_void_p(-1).value


@dataclass(frozen=True)
class _Mapping:
    """Part of a file in the memory of this process: where, and from where in the file."""

    start: int
    size: int
    offset: int


def use_large_pages(descriptor: int) -> None:
    """Moves what this process has mapped of a file in memory to be read alone; the file gives up its copy of that.

    Nothing may read it meanwhile. Where Linux has no large pages, or no memory, everything stays where it is.
    """
    size = _page_size()
    if not size:
        return
    with suppress(OSError):
        for mapping in _read_only(descriptor, 2 * size):
            _move(mapping, size)
            edge = mmap.PAGESIZE  # which other mappings may begin or end in
            hole = _FALLOC_KEEP_SIZE | _FALLOC_PUNCH_HOLE
            _system().fallocate(descriptor, hole, mapping.offset + edge, mapping.size - 2 * edge)


def _page_size() -> int:
    """Bytes of a large page; 0 where there are none for who asks."""
    try:
        if "[never]" in (_SETTINGS / "enabled").read_text():
            return 0
        return int((_SETTINGS / "hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return 0


def _read_only(descriptor: int, least: int) -> Iterator[_Mapping]:
    """What is mapped of a file to be read alone, of so many bytes at least; as it was before the first one."""
    file = os.fstat(descriptor)
    device = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}"
    for line in _MAPS.read_text(errors="replace").splitlines():
        places, access, offset, *where = line.split(maxsplit=5)
        if access == "r--p" and where[:2] == [device, str(file.st_ino)]:
            start, end = (int(place, 16) for place in places.split("-"))
            if end - start >= least:
                yield _Mapping(start, end - start, int(offset, 16))


def _move(mapping: _Mapping, page: int) -> None:
    """Puts a copy in the place of a mapping.

    Raises:
        OSError: there is no memory for it.
    """
    system, size = _system(), mapping.size
    room = size + page
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = system.mmap(None, room, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)
    if memory in (None, _FAILED):
        raise OSError(ctypes.get_errno(), "mmap")
    copy = memory + (mapping.start - memory) % page  # large pages stay such where they lie alike in both places
    system.madvise(memory, room, mmap.MADV_HUGEPAGE)
    ctypes.memmove(copy, mapping.start, size)
    system.mprotect(copy, size, mmap.PROT_READ)
    moved = system.mremap(copy, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, mapping.start)
    error = ctypes.get_errno()
    ends = ((memory, copy - memory), (copy + size, memory + room - copy - size))
    for start, rest in ends if moved == mapping.start else ((memory, room),):
        if rest:
            system.munmap(start, rest)
    if moved != mapping.start:
        raise OSError(error, "mremap")


@cache
def _system() -> Any:
    library = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    library.mmap.restype = library.mremap.restype = pointer
    library.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    library.mremap.argtypes = [pointer, size, size, number, pointer]
    library.madvise.argtypes = library.mprotect.argtypes = [pointer, size, number]
    library.munmap.argtypes = [pointer, size]
    library.fallocate.argtypes = [number, number, ctypes.c_long, ctypes.c_long]
    return library

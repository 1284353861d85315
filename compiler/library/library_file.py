"""A library's file, read and checked without running any of it."""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import LibraryError
from ..process.journal import repair
from .archive import MAGIC as ARCHIVE
from .elf import Elf
from .integrity import check
from .signature import SECTION, Signature, check_version, parse_signature

# What profilers call, NAME_profile_ and so on in the symbol table: times of steps, of tasks, and of empty launches.
HIDDEN_ENTRIES = ("profile", "simulate", "hand_off")


@dataclass(frozen=True)
class LibraryFile:
    """What was found in a file whose checksums are right.

    Attributes:
        path: where it was found; something else may stand there by now.
        signature: what it says about itself, and `text`, the JSON of that.
        machine: the processor family that it is for.
        hidden_entries: how far the entries for profilers that it has are from the run entry; none when the symbols were
            stripped.
        digest: of its contents.
        identity: the file's device and number.
    """

    path: Path
    signature: Signature
    text: bytes
    machine: str
    hidden_entries: Mapping[str, int]
    digest: bytes
    identity: tuple[int, int]


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[LibraryFile, int, mmap.mmap]]:
    """Reads and checks a library; gives what it found, a file descriptor, and the contents, while the block lasts.

    Raises:
        LibraryError: the file is missing, damaged, or no library of Tilewright.
        UnsupportedVersionError: a newer Tilewright wrote it.
    """
    where = str(path)
    try:
        repair(Path(os.path.realpath(path)))
        # A pipe without a writer would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise LibraryError("the library does not exist", where=where) from None
    except (OSError, ValueError) as error:
        raise LibraryError(f"the library cannot be read: {_reason(error)}", where=where) from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise LibraryError("the library is no file", where=where)
        if not state.st_size:
            raise LibraryError("the file is empty", where=where)
        try:
            data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise LibraryError(f"the library cannot be read: {_reason(error)}", where=where) from error
        with data:
            yield _read(path, data, (state.st_dev, state.st_ino)), descriptor, data
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read(path: Path, data: mmap.mmap, identity: tuple[int, int]) -> LibraryFile:
    where = str(path)
    with memoryview(data) as view:
        if bytes(view[: len(ARCHIVE)]) == ARCHIVE:
            hint = "link it into a program, or compile with --emit so"
            raise LibraryError("a static library cannot be loaded", where=where, hint=hint)
        elf = Elf(view, where)
        text = elf.section(SECTION)
        if text is None:
            raise LibraryError("the library was not written by Tilewright", where=where)
        # Before the checksums: a newer version may have others.
        check_version(text.split(b"\0", 1)[0], where)
        sealed = check(elf, SECTION)
        text = sealed.text.split(b"\0", 1)[0]
        signature = parse_signature(text, where)
        # Nothing vouches for the symbols of a file that another tool wrote.
        entries = _hidden_entries(elf, signature.name) if sealed.is_whole else {}
        return LibraryFile(path, signature, text, elf.machine, entries, sealed.digest, identity)


def _hidden_entries(elf: Elf, name: str) -> dict[str, int]:
    wanted = {f"{name}_run": "", **{f"{name}_{entry}_": entry for entry in HIDDEN_ENTRIES}}
    found = {
        wanted[symbol.name]: symbol.value for symbol in elf.symbols() if symbol.is_defined and symbol.name in wanted
    }
    run = found.pop("", None)
    return {} if run is None else {entry: address - run for entry, address in found.items()}

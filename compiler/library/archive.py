"""Static libraries: an archive of object files, one of which holds the signature. Nothing of it is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...errors import LibraryError
from .elf import MAGIC as ELF_MAGIC
from .elf import Elf
from .signature import SECTION, Signature, check_version, parse_signature

MAGIC = b"!<arch>\n"
_HEADER_BYTES, _SIZE, _END = 60, slice(48, 58), slice(58, 60)
_TERMINATOR = b"`\n"


def is_archive(path: Path) -> bool:
    """Whether a file begins as archives do."""
    return begins_with(path, MAGIC)


def begins_with(path: Path, magic: bytes) -> bool:
    """Whether it is a file with these first bytes; a pipe is none, and is not waited for."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False


def read_archive(path: Path) -> Signature:
    """What a static library says about itself; the library may be for any machine.

    Raises:
        LibraryError: the file cannot be read, is damaged, or no library of Tilewright.
        UnsupportedVersionError: a newer Tilewright wrote it.
    """
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LibraryError(f"the library cannot be read: {error.strerror}", where=where) from error
    for member in _members(data, where):
        text = Elf(member, where).section(SECTION) if member.startswith(ELF_MAGIC) else None
        if text is not None:
            json = text.split(b"\0", 1)[0]
            check_version(json, where)
            return parse_signature(json, where)
    raise LibraryError("the library was not written by Tilewright", where=where)


def _members(data: bytes, where: str) -> Iterator[bytes]:
    at = len(MAGIC)
    while at < len(data):
        header = data[at : at + _HEADER_BYTES]
        digits = header[_SIZE].strip()
        first = at + _HEADER_BYTES
        if header[_END] != _TERMINATOR or not digits.isdigit() or first + int(digits) > len(data):
            raise LibraryError("the archive is damaged or truncated", where=where)
        yield data[first : first + int(digits)]
        at = first + int(digits) + int(digits) % 2  # members begin at even places

"""Puts finished files in their places: whole or not at all, and what was there before stays until then."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ...errors import OutputError
from . import interrupt, staging
from .journal import repair, replace_all

# Stands in the first line of every header that Tilewright writes, and of the files beside sources in C; a signature
# begins with its own.
HEADER_MARK = b"a model compiled by Tilewright"
_SIGNATURE_MARK = b'{"format_version":'
_SIGNATURES = (".json",)
_TEXTS = (".h", ".c", ".cu", ".txt", ".yml", ".properties")
_NAMED_TEXTS = ("Makefile",)


def install(files: Mapping[Path, Path]) -> None:
    """Copies files to their places so that all are there or none, whatever happens; the first is the library.

    Raises:
        OSError: a place cannot be written or is full; then no place was changed.
        OutputError: in a place stands what must not be replaced.
    """
    # The library last: where it is new, the header is.
    order = [(source, replaceable(place, (*_TEXTS, *_SIGNATURES))) for source, place in reversed([*files.items()])]
    if len({place for _, place in order}) < len(order):
        raise OutputError("the library and its header would be one file", where=str(next(iter(files.values()))))
    staged: list[tuple[Path, Path]] = []
    descriptors: list[int] = []
    if order:
        repair(order[-1][1])
    try:
        for source, place in order:
            staging.sweep(place)
            new, descriptor = staging.create(place, executable=os.access(source, os.X_OK))
            staged.append((new, place))
            descriptors.append(descriptor)
            copy(source, descriptor)
        if staged:
            replace_all(staged)
    finally:
        for new, _ in staged:
            new.unlink(missing_ok=True)
        for descriptor in descriptors:
            os.close(descriptor)


def copy(source: Path, descriptor: int) -> None:
    """Copies a file into an open one."""
    with source.open("rb") as reader:
        size = os.fstat(reader.fileno()).st_size
        done = 0
        while done < size:
            count = os.sendfile(descriptor, reader.fileno(), done, size - done)
            if not count:
                raise OSError(errno.EIO, "the file became shorter while it was copied", str(source))
            done += count


def replaceable(place: Path, texts: Sequence[str] = _TEXTS) -> Path:
    """The file that is replaced when `place` is written: `place`, or what a link there names.

    Args:
        place: where to write.
        texts: the suffixes of files that people write too.

    Raises:
        OutputError: something else than a file stands there, or a file that people write too, such as a header, and
            that Tilewright did not write.
    """
    path = staging.target(place)
    if place.suffix in texts or place.name in _NAMED_TEXTS:
        with contextlib.suppress(FileNotFoundError):
            _check_header(path)
    return path


def _check_header(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise OutputError(f"the file cannot be replaced: {error.strerror}", where=str(path)) from error
    if start and HEADER_MARK not in start.partition(b"\n")[0] and not start.startswith(_SIGNATURE_MARK):
        raise OutputError(
            f"{'the header' if path.suffix == '.h' else path.name} would replace a file that Tilewright did not write",
            where=str(path),
            hint="move that file away, or give the output another name with -o",
        )


def check_place(path: Path, keep: Iterable[Path | None] = ()) -> None:
    """Finds out before long work whether a file can be written.

    Args:
        keep: files that it must not replace.

    Raises:
        OutputError: the folder is missing, or something stands there that is no file or must be kept.
    """
    if not path.parent.is_dir():
        raise OutputError("the output's folder does not exist", where=str(path), hint=f"mkdir -p {path.parent}")
    found = replaceable(path)
    if not found.parent.is_dir():
        raise OutputError("the folder that the output's link names does not exist", where=str(path))
    if found.exists() and any(other is not None and other.exists() and found.samefile(other) for other in keep):
        raise OutputError("the output would replace an input", where=str(path), hint="give it another name")


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends well, and else leaves no trace.

    Raises:
        OutputError: as `check_place`, or the file cannot be written.
    """
    check_place(path)
    place = replaceable(path)
    try:
        staging.sweep(place)
        new, descriptor = staging.create(place)
        with interrupt.removed_afterwards(new), open(descriptor, "wb") as file:  # noqa: PTH123 - a descriptor
            yield file
            file.flush()
            new.replace(place)
    except OSError as error:
        reason = error.strerror or "the disk is full"  # zipfile's own complaints carry no number
        raise OutputError(f"the output cannot be written: {reason}", where=str(path)) from error

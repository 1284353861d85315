"""Puts finished files in their places, whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError
from . import interrupt


def install(files: Mapping[Path, Path]) -> None:
    """Copies files to their places so that each is there whole or not at all, whatever happens.

    Raises:
        OSError: a place cannot be written or is full; then no place was changed.
    """
    staged: dict[Path, Path] = {}
    try:
        for source, place in files.items():
            staging = place.with_name(f".{place.name}.{os.getpid()}.tmp")
            staged[staging] = place
            shutil.copyfile(source, staging)
            shutil.copymode(source, staging)
        for staging, place in staged.items():
            staging.replace(place)
    finally:
        for staging in staged:
            staging.unlink(missing_ok=True)


def check_place(path: Path, keep: Iterable[Path | None] = ()) -> None:
    """Finds out before long work whether a file can be written.

    Args:
        keep: files that it must not replace.

    Raises:
        OutputError: the folder is missing, or something stands there that is no file or must be kept.
    """
    if not path.parent.is_dir():
        raise OutputError("the output's folder does not exist", where=str(path), hint=f"mkdir -p {path.parent}")
    if path.exists() and not path.is_file():
        raise OutputError("the output is no file", where=str(path), hint="give the name of a file")
    if path.exists() and any(other is not None and other.exists() and path.samefile(other) for other in keep):
        raise OutputError("the output would replace an input", where=str(path), hint="give it another name")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A file to write that takes the place of `path` when the block ends well, and else leaves no trace.

    Raises:
        OutputError: as `check_place`, or the file cannot be written.
    """
    check_place(path)
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with interrupt.removed_afterwards(staging):
            yield staging
            staging.replace(path)
    except OSError as error:
        reason = error.strerror or "the disk is full"  # zipfile's own complaints carry no number
        raise OutputError(f"the output cannot be written: {reason}", where=str(path)) from error

"""Files on their way to their places: written beside them under a name that nobody can guess, then renamed.

A staging file is made by this process alone (O_EXCL) and never reached through a link (O_NOFOLLOW). It is locked while
its process lives; one that can be locked was left by a process that was killed, and goes.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from ...errors import OutputError
from .temporary import is_still, locked

_STAGING = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp", re.DOTALL)
_NAME_BYTES = 200  # of the 255 that a name may have
_NO_FILES = ("/dev", "/proc", "/sys")
_BUT = ("/dev/shm",)
_MAX_LINKS = 40  # as Linux follows


def target(place: Path) -> Path:
    """The file that writing to `place` replaces: what a symbolic link names; the link stays.

    Raises:
        OutputError: something stands there that is no file, or it is a device's place.
    """
    path = place
    for _ in range(_MAX_LINKS):
        path = Path(os.path.realpath(path.parent), path.name)
        if _is_below(path.parent, _NO_FILES) and not _is_below(path.parent, _BUT):
            raise _refused(place, "it is a device, not a file")
        try:
            mode = os.lstat(path).st_mode
            if not stat.S_ISLNK(mode):
                break
            path = path.parent / path.readlink()
        except FileNotFoundError:
            return path
        except OSError as error:
            raise _refused(place, str(error.strerror)) from error
    else:
        raise _refused(place, "its links lead in a circle")
    if stat.S_ISDIR(mode):
        raise OutputError("the output is a folder, no file", where=str(place), hint="give the name of a file")
    if not stat.S_ISREG(mode):
        raise _refused(place, "it is a device or a pipe, no file")
    return path


def _refused(place: Path, reason: str) -> OutputError:
    return OutputError(f"the output cannot be written: {reason}", where=str(place), hint="give the name of a file")


def _is_below(path: Path, folders: tuple[str, ...]) -> bool:
    return any(path == Path(folder) or Path(folder) in path.parents for folder in folders)


def create(path: Path, *, executable: bool = False) -> tuple[Path, int]:
    """A new, empty file beside `path`, and its descriptor, which holds the lock.

    Raises:
        OSError: the folder cannot be written.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        staging = unused_name(path)
        descriptor = os.open(staging, flags, 0o777 if executable else 0o666)
        locked(descriptor, wait=True)
        if is_still(staging, descriptor):
            return staging, descriptor
        os.close(descriptor)  # somebody took it for a left-over, between the two steps


def unused_name(path: Path) -> Path:
    """A name beside `path` that nobody can guess."""
    return path.with_name(f".{start_of(path)}.{secrets.token_hex(16)}.tmp")


def is_staging_of(staging: Path, path: Path) -> bool:
    """Whether a path could have come from `unused_name(path)`."""
    match = _STAGING.fullmatch(staging.name)
    return match is not None and staging.parent == path.parent and match[1] == start_of(path)


def start_of(path: Path) -> str:
    """As much of a file's name as fits into longer ones."""
    return os.fsdecode(os.fsencode(path.name)[:_NAME_BYTES])


def sweep(path: Path) -> None:
    """Removes what killed processes left of their attempts to write `path`."""
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if is_staging_of(Path(entry.path), path) and entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    _remove_unlocked(Path(entry.path))


def _remove_unlocked(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if os.fstat(descriptor).st_uid == os.geteuid() and locked(descriptor):
            path.unlink()
    finally:
        os.close(descriptor)

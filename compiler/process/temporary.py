"""Temporary folders that do not outlive their process for long: who comes next removes what a killed one left.

Each folder is locked (flock) by the process that made it. Linux gives the lock back however a process ends, so a folder
of ours that can be locked belongs to nobody.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...errors import OutputError

PREFIX = "tilewright-tmp-"


class TemporaryFolder:
    """A folder and the lock on it."""

    def __init__(self) -> None:
        """Makes a folder where `tempfile` makes them, and removes those that nobody has any more.

        Raises:
            OutputError: there is no place for temporary files.
        """
        try:
            _sweep(Path(tempfile.gettempdir()))
            self.path, self._lock = _claimed()
        except OSError as error:
            raise OutputError(
                "there is no place for temporary files",
                where=os.environ.get("TMPDIR", "/tmp"),
                hint="set TMPDIR to a folder that can be written",
                details=[error.strerror or str(error)],
            ) from error

    def remove(self) -> None:
        """Removes the folder with all that is in it; may be called again."""
        if self._lock is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = None


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for as long as the block lasts.

    Raises:
        OutputError: there is no place for temporary files.
    """
    folder = TemporaryFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def locked(descriptor: int, *, wait: bool = False) -> bool:
    """Locks an open file or folder for this process, until it is closed; False when another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # or the file system has no locks
        return False
    return True


def is_still(path: Path, descriptor: int) -> bool:
    """Whether a path names the file that is open."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _claimed() -> tuple[Path, int | None]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        # Between the steps somebody may have taken it for a left-over, and removed it.
        try:
            lock = _open(path)
        except FileNotFoundError:
            continue
        locked(lock, wait=True)
        if is_still(path, lock):
            return path, lock
        os.close(lock)


def _sweep(place: Path) -> None:
    with os.scandir(place) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(PREFIX)]
    for path in found:
        with contextlib.suppress(OSError):
            if os.lstat(path).st_uid != os.geteuid():
                continue
            lock = _open(path)
            try:
                if locked(lock):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(lock)


def _open(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

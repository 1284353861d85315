"""Several files replaced as one: all of them or none, even when the process is killed half-way.

No file system renames two files in one step. So the renames are written down first, in a journal beside the files:

    {"renames": [[staging file, place], ...]}

Once it is there complete, the files count as replaced: who finds it (the next compile to this place, or the loader)
does the renames that are left. Before, they count as untouched. The journal is locked by the process at work, so that
two that write the same files do it one after the other.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from .staging import is_staging_of, start_of, sweep, unused_name
from .temporary import is_still, locked

_SUFFIX = ".publishing"
_MAX_BYTES = 1 << 20


def replace_all(renames: Sequence[tuple[Path, Path]]) -> None:
    """Renames staging files to their places, the last one last; the journal has its name.

    Raises:
        OSError: one place cannot be replaced; then none was.
    """
    if len(renames) == 1:
        renames[0][0].replace(renames[0][1])
        return
    with _journal(_path(renames[-1][1])) as journal:
        before: list[tuple[Path, Path | None]] = []
        try:
            for _, place in renames:
                before.append((place, _kept(place)))
            _write(journal, renames)
            for staging, place in renames:
                staging.replace(place)
        except OSError:
            for place, kept in before:
                with contextlib.suppress(OSError):
                    if kept is not None:
                        kept.replace(place)
                    elif not any(staging.exists() for staging, other in renames if other == place):
                        place.unlink()
            raise
        finally:
            for _, kept in before:
                if kept is not None:
                    kept.unlink(missing_ok=True)


def repair(place: Path) -> None:
    """Ends what a killed process began; `place` is the last of the files that belong together.

    Nothing happens where this process may not write: the files stay as they are.
    """
    path = _path(place)
    if not os.path.lexists(path):
        return
    with contextlib.suppress(OSError), _journal(path, only_existing=True):
        pass


def _path(place: Path) -> Path:
    return place.with_name(f".{start_of(place)}{_SUFFIX}")


@contextlib.contextmanager
def _journal(path: Path, *, only_existing: bool = False) -> Iterator[int]:
    """A new and locked journal for as long as the block lasts; what an earlier one left to do is done."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    while True:
        descriptor = os.open(path, flags if only_existing else flags | os.O_CREAT, 0o600)
        try:
            state = os.fstat(descriptor)
            if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "the journal of an unfinished write is another user's", str(path))
            locked(descriptor, wait=True)
            if not is_still(path, descriptor):
                continue  # its owner was done meanwhile
            _finish(descriptor)
            os.ftruncate(descriptor, 0)
            try:
                yield descriptor
            finally:
                path.unlink(missing_ok=True)
            return
        finally:
            os.close(descriptor)


def _write(journal: int, renames: Sequence[tuple[Path, Path]]) -> None:
    text = json.dumps({"renames": [[os.fspath(path) for path in rename] for rename in renames]})
    # In one piece: what is not complete is no JSON, and does not count.
    data = text.encode("utf-8", "surrogateescape")
    if os.pwrite(journal, data, 0) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _finish(journal: int) -> None:
    """Does the renames that a journal lists; one that is incomplete lists none."""
    try:
        data = json.loads(os.pread(journal, _MAX_BYTES, 0).decode("utf-8", "surrogateescape"))
        renames = [(Path(staging), Path(place)) for staging, place in data["renames"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    for staging, place in renames:
        # Whoever wrote it, nothing but a staging file takes its own place.
        if is_staging_of(staging, place):
            with contextlib.suppress(FileNotFoundError):
                staging.replace(place)
            sweep(place)


def _kept(place: Path) -> Path | None:
    """Another name of the file that stands at a place; None if there is none."""
    name = unused_name(place)
    try:
        os.link(place, name, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError:  # a file system without links: a copy
        shutil.copy2(place, name, follow_symlinks=False)
    return name

"""Ctrl-C in a compiler that spends its time in C++: end at once, leave nothing behind.

Python runs a signal handler only between two instructions of the main thread, which may be seconds away while LLVM
works, and an exception raised inside a callback from C++ can get lost. So a thread waits for the signal, removes the
temporary folder and half-written files, and ends the process. What must not be cut in two is done under `shielded`.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from . import temporary

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_KILL_SECONDS = 2.0  # how long a killed process may take to end
_PAUSES = (0.05, 0.1, 0.2, 0.4)  # seconds between attempts to remove a folder
_EXIT_BASE = 128  # the shell's convention: 128 + number of the signal

_lock = threading.RLock()
_leftovers: set[Path] = set()
_pipe: tuple[int, int] | None = None
_one_result = False
_committed = False


def install() -> None:
    """Makes SIGINT and SIGTERM end this process cleanly. For the main thread of the command line only."""
    global _pipe
    _pipe = os.pipe()
    os.set_blocking(_pipe[1], False)
    signal.set_wakeup_fd(_pipe[1])
    for number in SIGNALS:
        # A parent that ignores the signal (nohup, a shell's background job) wants us to ignore it too.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    threading.Thread(target=_watch, args=(_pipe[0],), daemon=True, name="interrupt").start()


def _watch(descriptor: int) -> None:
    select.select([descriptor], [], [])  # the signal stays in the pipe, for `wait_if_interrupted` to see
    with _lock:
        if _committed:
            return
        number = os.read(descriptor, 1)[0]
        _end_children()
        for path in _leftovers:
            _remove(path)
        with contextlib.suppress(OSError):
            sys.stderr.write("\ninterrupted\n" if sys.stderr.isatty() else "interrupted\n")
            sys.stderr.flush()
        os._exit(_EXIT_BASE + number)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Signals wait until the block is done: for a group of renames that belong together."""
    global _committed
    with _lock:
        yield
        _committed = _one_result


@contextlib.contextmanager
def done_when_published() -> Iterator[None]:
    """Within the block the first `shielded` one that succeeds writes the result of the whole command.

    From then on the command has done its work, and a signal that came meanwhile changes nothing any more.
    """
    global _one_result
    _one_result = True
    try:
        yield
    finally:
        _one_result = False


@contextlib.contextmanager
def removed_afterwards(path: Path) -> Iterator[Path]:
    """Removes the file or folder when the block ends, however it ends."""
    with _lock:
        _leftovers.add(path)
    try:
        yield path
    finally:
        with _lock:
            _remove(path)
            _leftovers.discard(path)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for everything temporary of this process and of the tools it starts.

    Within the block `tempfile` and ``TMPDIR`` point into it, so that one removal takes it all.

    Raises:
        OutputError: there is no place for temporary files.
    """
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with temporary.temporary_folder() as folder, removed_afterwards(folder):
        tempfile.tempdir, os.environ["TMPDIR"] = str(folder), str(folder)
        try:
            yield folder
        finally:
            tempfile.tempdir = before[0]
            os.environ.pop("TMPDIR")
            if before[1] is not None:
                os.environ["TMPDIR"] = before[1]


def wait_if_interrupted() -> None:
    """Does not return when a signal has come: a tool that died of Ctrl-C is no error to report."""
    while _pipe is not None and not _committed and select.select([_pipe[0]], [], [], 0)[0]:
        time.sleep(1)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for pause in _PAUSES:
            shutil.rmtree(path, ignore_errors=True)
            if not path.exists():
                break
            time.sleep(pause)  # a tool that was just stopped wrote once more, or another thread of ours
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _end_children() -> None:
    """Kills the processes that this one started (and theirs), as far as Linux tells them."""
    seen = set[int]()
    while found := _descendants() - seen:  # until those that were stopped have started no more
        seen |= found
        for child in found:
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGSTOP)
    for child in seen:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    # Until they are gone they may still write to the folders that are removed next.
    deadline = time.monotonic() + _KILL_SECONDS
    while any(_runs(child) for child in seen) and time.monotonic() < deadline:
        time.sleep(0.005)


def _descendants() -> set[int]:
    """The processes that this one started, and theirs."""
    todo, seen = [os.getpid()], set[int]()
    while todo:
        parent = todo.pop()
        for listing in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = {int(word) for word in listing.read_text().split()} - seen
                seen |= children
                todo += children
    return seen


def _runs(process: int) -> bool:
    """Whether a process still does something: it is there, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False

"""What the processes of `workers` run: one interpreter that imports TVM, and forks of it."""

from __future__ import annotations

import importlib
import os
import pickle
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .collection import collect_rarely

_THREADS = Path("/proc/self/task")


def main(descriptors: Sequence[int], preload: str) -> None:
    """Does jobs in as many processes as there are connections, until None comes instead of one, or the other side ends.

    Args:
        descriptors: file descriptors of the connections.
        preload: the module with all that the jobs need.
    """
    collect_rarely()
    importlib.import_module(preload)

    own, *others = descriptors
    children = []
    for descriptor in others:
        child = _fork()
        if child == 0:
            own = descriptor
            break
        if child is not None:
            children.append(child)
    for descriptor in descriptors:
        if descriptor != own:
            os.close(descriptor)  # so that a worker's end shows as the end of its connection
    status = 1
    try:
        _serve(Connection(own))
        for child in children if own == descriptors[0] else ():
            os.waitpid(child, 0)
        status = 0
    finally:
        os._exit(status)  # a fork must not run what its parent registered for its own end


def _fork() -> int | None:
    """Forks this process if it has one thread: the child's id, 0 in the child, None when there is no child."""
    if not _THREADS.is_dir() or len(list(_THREADS.iterdir())) != 1:
        return None
    try:
        return os.fork()
    except OSError:
        return None


def _serve(connection: Connection[Any, Any]) -> None:
    """Tells that this process is ready, and answers each job with its result, or an error and its traceback."""
    try:
        connection.send(os.getpid())
        while (job := connection.recv()) is not None:
            connection.send_bytes(_answer(job))
    except (EOFError, OSError):  # the other side is done with us, or gone
        return


def _answer(job: Any) -> bytes:
    try:
        return pickle.dumps((job(), None, ""))
    except Exception as error:
        text = traceback.format_exc()
        try:
            answer = pickle.dumps((None, error, text))
            pickle.loads(answer)
        except Exception:  # an error that cannot travel: its text can
            answer = pickle.dumps((None, RuntimeError(f"{type(error).__name__}: {error}"), text))
        return answer

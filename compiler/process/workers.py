"""Processes that share the work of a compile.

The first is a fresh interpreter that runs `worker` and nothing else; it imports TVM once and then forks the others
while it has a single thread, so that a fork leaves no thread behind that holds a lock. Forking this process would not
be safe: threads of numpy, of TVM or of the caller may hold locks that nobody in the copy would ever release. Starting
interpreters by `multiprocessing` would import the caller's main module in each, which breaks scripts without ``if
__name__ == "__main__"``. Threads would need none of this, but two were no faster than one: TVM's code generation locks.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path
from typing import Any, Protocol, TypeVar

from ...errors import ToolError
from .interpreter import command

_END_SECONDS = 2.0  # how long idle workers may take to end by themselves

# Libraries whose threads a fork would leave behind.
_SINGLE_THREADED = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Job(Protocol):
    """Work for any process: it can be pickled, and so can what it returns."""

    def __call__(self) -> Any:
        """Does the work."""


AnyJob = TypeVar("AnyJob", bound=Job)


class WorkerTracebackError(Exception):
    """The cause of an error that a worker met: its traceback there, as text."""


def asked_jobs() -> int | None:
    """Processes that the environment asks for where no option does, by ``TILEWRIGHT_JOBS``; None: it does not."""
    variable = os.environ.get("TILEWRIGHT_JOBS", "")
    return int(variable) or None if variable.isdecimal() else None


@contextmanager
def started(count: int, preload: str) -> Iterator[Workers | None]:
    """Workers that start while this process goes on, and have ended when the block has.

    Args:
        count: how many. One is none: this process can do the work itself.
        preload: the module with all that the jobs need, which is imported once for all of them.

    Yields:
        The workers; None where there are none, or processes cannot be started.
    """
    workers = start(count, preload) if count > 1 and _is_python(sys.executable) else None
    if workers is None:
        yield None
        return
    try:
        yield workers
    except BaseException:
        workers.kill()
        raise
    workers.close()


class Workers:
    """Processes that do jobs, each one at a time. Until the first of them is ready this process does jobs itself."""

    def __init__(self, process: subprocess.Popen[bytes], connections: Sequence[Connection[Any, Any]]) -> None:
        self._process = process
        self._connections = tuple(connections)
        self._starting = list(connections)
        self._idle: list[Connection[Any, Any]] = []
        self._busy: dict[Connection[Any, Any], int] = {}
        self._places: dict[Hashable, Connection[Any, Any]] = {}  # who did a place's job last

    def wait_until_ready(self) -> list[int]:
        """Waits until no worker is starting any more; returns the process ids of those that became ready."""
        process_ids: list[int] = []
        while self._starting:
            process_ids += self._welcome(None)
        return process_ids

    def run(
        self,
        jobs: Sequence[AnyJob],
        on_done: Callable[[AnyJob], None],
        place: Callable[[AnyJob], Hashable] = lambda job: None,
        *,
        here: bool = True,
    ) -> list[Any]:
        """Does jobs and returns their results, in the jobs' order.

        Args:
            jobs: what to do; jobs start in this order, but for those that wait for their place.
            on_done: called with each job that is done.
            place: jobs of one place, other than None, are done by one worker, those of later calls too. A worker that
                has nothing else to do takes the last of a job's own worker that has several.
            here: whether this process does jobs itself as long as no worker is ready.

        Raises:
            ToolError: a worker ended before its job was done.
            Exception: what a job raised; of several the first one's, as without workers. All workers have ended then.
        """
        try:
            if not here:
                self.wait_until_ready()
                if not self._idle:
                    raise _killed()
            return self._run(jobs, on_done, [place(job) for job in jobs])
        except BaseException:
            self.kill()
            raise

    def close(self) -> None:
        """Ends all workers, which have nothing to do any more."""
        for connection in self._idle:
            with contextlib.suppress(OSError):
                connection.send(None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if self._starting else _END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Ends all workers at once, whatever they do. None of them writes to a file afterwards."""
        # They are a process group. As long as its first process is not waited for, no other group can have its number.
        if self._process.returncode is None:
            with contextlib.suppress(OSError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for connection in self._connections:
            with contextlib.suppress(EOFError, OSError):
                while connection.poll(_END_SECONDS):  # the end of a process closes its side
                    connection.recv_bytes()
            connection.close()

    def _run(self, jobs: Sequence[AnyJob], on_done: Callable[[AnyJob], None], places: Sequence[Hashable]) -> list[Any]:
        results: dict[int, Any] = {}
        failures: dict[int, BaseException] = {}
        waiting = list(range(len(jobs)))
        while waiting or self._busy:
            self._welcome(0)
            for connection in list(self._idle):
                index = self._choice(connection, waiting, places)
                if index is not None:
                    waiting.remove(index)
                    self._give(connection, index, jobs[index], places[index])
            if not self._busy and waiting:  # none is ready yet, or none ever will be
                index = waiting.pop(0)
                results[index] = jobs[index]()
                on_done(jobs[index])
            for index, result, failure in self._answers():
                if failure is None:
                    results[index] = result
                    on_done(jobs[index])
                else:
                    failures[index] = failure
            if failures:
                # Without workers, those before the first that fails would have been done.
                first = min(failures)
                waiting = [index for index in waiting if index < first]
                if all(index > first for index in (*waiting, *self._busy.values())):
                    raise failures[first]
        return [results[index] for index in range(len(jobs))]

    def _choice(
        self, connection: Connection[Any, Any], waiting: Sequence[int], places: Sequence[Hashable]
    ) -> int | None:
        """What an idle worker does next: the first job that is its or nobody's, else one of a worker with several."""
        owners = [self._places.get(places[index]) for index in waiting]
        for index, owner in zip(waiting, owners, strict=True):
            if owner is None or owner is connection:
                return index
        for index, owner in zip(reversed(waiting), reversed(owners), strict=True):
            if owners.count(owner) > 1:
                return index
        return None

    def _welcome(self, timeout: float | None) -> list[int]:
        """Notes which workers have become ready or have failed to start; returns the ids of those that are ready."""
        process_ids: list[int] = []
        for connection in _readable(self._starting, timeout):
            self._starting.remove(connection)
            with contextlib.suppress(EOFError, OSError):
                process_ids.append(connection.recv())
                self._idle.append(connection)
        return process_ids

    def _give(self, connection: Connection[Any, Any], index: int, job: Job, place: Hashable) -> None:
        self._idle.remove(connection)
        try:
            connection.send(job)
        except OSError as error:
            raise _killed() from error
        self._busy[connection] = index
        if place is not None:
            self._places[place] = connection

    def _answers(self) -> Iterator[tuple[int, Any, BaseException | None]]:
        """Waits for a worker to be done or to become ready; for each job done its index and its result or error."""
        for connection in _readable([*self._busy, *self._starting] if self._busy else [], None):
            if connection not in self._busy:
                continue
            try:
                result, failure, traceback = connection.recv()
            except (EOFError, OSError) as error:
                raise _killed() from error
            if failure is not None:
                failure.__cause__ = WorkerTracebackError(traceback)
            self._idle.append(connection)
            yield self._busy.pop(connection), result, failure


def _readable(connections: Sequence[Connection[Any, Any]], timeout: float | None) -> list[Connection[Any, Any]]:
    """The connections on which something has come, or which have ended."""
    ready = wait(connections, timeout) if connections else []
    return [connection for connection in connections if connection in ready]


def start(count: int, preload: str) -> Workers | None:
    """Starts so many workers, or none, whose end is the caller's task; see `started`."""
    here: list[Connection[Any, Any]] = []
    there: list[Connection[Any, Any]] = []
    try:
        for _ in range(count):
            one, other = Pipe()
            here.append(one)
            there.append(other)
        numbers = [connection.fileno() for connection in there]
        process = subprocess.Popen(
            command(f"{__package__}.worker", f"main({numbers!r}, {preload!r})"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=numbers,
            env={**os.environ, **_SINGLE_THREADED},
            start_new_session=True,  # Ctrl-C on the terminal reaches this process alone, which then ends the workers
        )
    except OSError:
        for connection in here:
            connection.close()
        return None
    finally:
        for connection in there:
            connection.close()
    return Workers(process, here)


def _is_python(executable: str | None) -> bool:
    """Whether this is an interpreter's program, and not one that has Python embedded."""
    return bool(executable) and Path(str(executable)).name.startswith(("python", "pypy"))


def _killed() -> ToolError:
    return ToolError(
        "a process that compiled kernels was killed",
        where="compiling kernels",
        hint="when memory ran out, use fewer processes: --jobs 1",
    )

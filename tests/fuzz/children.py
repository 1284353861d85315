"""Work done in child processes, a number at a time, so that one that dies or hangs is found and the rest goes on."""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

Verdict = tuple[str, str]  # the kind of an outcome, and more about it
Work = Callable[[int], Verdict | Callable[[], Verdict]]

_SHARE = 200  # numbers to a child: enough that its start does not count
_MEMORY_BYTES = 12 << 30  # of addresses: who asks for more is told that there is none


@dataclass(frozen=True)
class Outcome:
    """What a child said of one number; `kind` is `crash` or `hang` where it could say nothing."""

    number: int
    kind: str
    text: str = ""
    seconds: float = 0.0


@dataclass
class _Child:
    process: subprocess.Popen[bytes]
    pending: list[int]
    buffer: bytes = b""

    @property
    def pipe(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout


def serve(work: Work, numbers: Sequence[int], limit_seconds: float, limit_bytes: int | None = None) -> None:
    """The child's side: does the work of each number and prints what came of it.

    A number that takes more processor time than the limit ends the process: with SIGPROF, which needs no cooperation.
    One that made the process larger by more than `limit_bytes` at any time is `large`. Where the work returns a
    function, this tells the outcome, and what it takes counts for nothing.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not spoil the answers
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if numbers:
        work(numbers[0])  # once without a limit: what it imports takes seconds
    for number in numbers:
        _forget_peak()
        began, before = time.process_time(), _peak_bytes()
        signal.setitimer(signal.ITIMER_PROF, limit_seconds)
        done = work(number)
        signal.setitimer(signal.ITIMER_PROF, 0)
        seconds, more = time.process_time() - began, _peak_bytes() - before
        kind, text = done() if callable(done) else done
        if limit_bytes is not None and more > limit_bytes:
            kind, text = "large", f"{more >> 20} MiB; {kind} {text}"
        print(json.dumps([number, kind, text, round(seconds, 3)]), file=out, flush=True)


def _forget_peak() -> None:
    """Lets the largest size that this process had begin at what it has now."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_bytes() -> int:
    """The most memory that this process had since `_forget_peak`."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def run(command: Sequence[str], numbers: Sequence[int], processes: int) -> Iterator[Outcome]:
    """Shares numbers among processes that run `command NUMBER ...` and `serve` them; yields outcomes as they come."""
    rest = list(numbers)
    share = max(1, min(_SHARE, -(-len(rest) // processes)))
    children: list[_Child] = []
    selector = selectors.DefaultSelector()
    try:
        while rest or children:
            while rest and len(children) < processes:
                pending, rest[:] = rest[:share], rest[share:]
                child = _Child(_start(command, pending), pending)
                children.append(child)
                selector.register(child.pipe, selectors.EVENT_READ, child)
            for key, _ in selector.select():
                child = key.data
                data = os.read(child.pipe.fileno(), 1 << 16)
                *lines, child.buffer = (child.buffer + data).split(b"\n")
                for line in lines:
                    number, kind, text, seconds = json.loads(line)
                    child.pending.remove(number)
                    yield Outcome(number, kind, text, seconds)
                if not data:
                    selector.unregister(child.pipe)
                    children.remove(child)
                    child.pipe.close()
                    yield from _ended(child, rest)
    finally:
        for child in children:
            child.process.kill()
            child.process.wait()


def _start(command: Sequence[str], numbers: Sequence[int]) -> subprocess.Popen[bytes]:
    arguments: list[Any] = [sys.executable, *command, *map(str, numbers)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _ended(child: _Child, rest: list[int]) -> Iterator[Outcome]:
    """What became of the number that a child was at when it ended; the others go back to the rest."""
    status = child.process.wait()
    if not child.pending:
        return
    kind = "hang" if status == -signal.SIGPROF else "crash"
    reason = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    yield Outcome(child.pending[0], kind, reason)
    rest[:0] = child.pending[1:]

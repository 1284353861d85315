"""Work done in child processes, a number at a time, so that one that dies or hangs is found and the rest goes on."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    since: float = field(default_factory=time.monotonic)
    buffer: bytes = b""


def serve(work: Callable[[int], tuple[str, str]], numbers: Sequence[int]) -> None:
    """The child's side: does the work of each number and prints what came of it."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else prints must not spoil the answers
    for number in numbers:
        began = time.process_time()
        kind, text = work(number)
        print(json.dumps([number, kind, text, round(time.process_time() - began, 3)]), file=out, flush=True)


def run(command: Sequence[str], numbers: Sequence[int], processes: int, limit_seconds: float) -> Iterator[Outcome]:
    """Shares numbers among processes that run `command NUMBER ...` and `serve` them; yields outcomes as they come.

    Args:
        command: the program and its first arguments.
        numbers: what to work on.
        processes: how many at once.
        limit_seconds: how long one number may take.
    """
    rest = list(numbers)
    children: list[_Child] = []
    selector = selectors.DefaultSelector()

    def start() -> None:
        pending, rest[:] = rest[:_SHARE], rest[_SHARE:]
        process = subprocess.Popen(
            [sys.executable, *command, *map(str, pending)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        child = _Child(process, pending)
        children.append(child)
        selector.register(_pipe(process), selectors.EVENT_READ, child)

    def end(child: _Child) -> int:
        selector.unregister(_pipe(child.process))
        children.remove(child)
        _pipe(child.process).close()
        return child.process.wait()

    while rest or children:
        while rest and len(children) < processes:
            start()
        for key, _ in selector.select(timeout=1.0):
            child: _Child = key.data
            data = os.read(_pipe(child.process).fileno(), 1 << 16)
            if data:
                *lines, child.buffer = (child.buffer + data).split(b"\n")
                for line in lines:
                    number, kind, text, seconds = json.loads(line)
                    child.pending.remove(number)
                    child.since = time.monotonic()
                    yield Outcome(number, kind, text, seconds)
                continue
            status = end(child)
            if child.pending:
                yield Outcome(child.pending[0], "crash", f"exit status {status}")
                rest[:0] = child.pending[1:]
        for child in list(children):
            if time.monotonic() - child.since > limit_seconds:
                child.process.kill()
                end(child)
                if child.pending:
                    yield Outcome(child.pending[0], "hang", f"more than {limit_seconds} s", limit_seconds)
                    rest[:0] = child.pending[1:]


_SHARE = 200  # numbers to a child: enough that its start does not count


def _pipe(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    return process.stdout


def script(file: str) -> str:
    """The path of a program that is its own child's."""
    return str(Path(file).resolve())

"""Runs ONNX's tests in processes with a time limit: what crashes or hangs takes down nothing but itself."""

from __future__ import annotations

import contextlib
import json
import queue
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from outcomes import CRASHES, HANGS, Outcome

_WORKER = Path(__file__).with_name("worker.py")
_SECONDS_TO_START = 300


def run_all(
    keys: Sequence[str],
    *,
    processes: int,
    seconds: float,
    tell: Callable[[str, Outcome], None],
    arguments: Sequence[str] = (),
) -> dict[str, Outcome]:
    """What came of each test; `tell` hears of it as soon as it is known.

    Args:
        seconds: that each may take.
        arguments: of the processes, as `worker.py` says.
    """
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for key in keys:
        waiting.put(key)
    outcomes: dict[str, Outcome] = {}
    lock = threading.Lock()

    def work() -> None:
        worker = _Worker(arguments)
        with contextlib.suppress(queue.Empty):
            while True:
                key = waiting.get_nowait()
                outcome = worker.run(key, seconds)
                with lock:
                    outcomes[key] = outcome
                    tell(key, outcome)
        worker.stop()

    threads = [threading.Thread(target=work) for _ in range(min(processes, len(keys)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {key: outcomes[key] for key in keys}


class _Worker:
    """A process that is started again after it died or had to be ended."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def run(self, key: str, seconds: float) -> Outcome:
        process = self._running()
        assert process.stdin is not None
        try:
            process.stdin.write(f"{key}\n")
            process.stdin.flush()
            line = _line(process, seconds)
        except TimeoutError:
            self.stop()
            return Outcome(HANGS, f"no end within {seconds:.0f} s")
        except BrokenPipeError:
            line = ""
        if line:
            fields: dict[str, Any] = json.loads(line)
            return Outcome(fields["kind"], fields["reason"], tuple(fields["bound"]))
        code = process.wait()
        self._process = None
        return Outcome(CRASHES, f"the process ended with {code}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            command = [sys.executable, str(_WORKER), *self._arguments]
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, bufsize=1
            )
            assert _line(self._process, _SECONDS_TO_START).strip() == "ready"
        return self._process


def _line(process: subprocess.Popen[str], seconds: float) -> str:
    """The next line, one at a time; "" when the process has ended.

    Raises:
        TimeoutError: none came in time.
    """
    assert process.stdout is not None
    if not select.select([process.stdout], [], [], seconds)[0]:
        raise TimeoutError
    return process.stdout.readline()

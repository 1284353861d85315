"""The parent's side of `benchmarks.engine_worker`: starts engines, asks them for turns, and ends them for certain."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .engines.engine import Engine
from .not_available import NotAvailableError

ROOT = Path(__file__).resolve().parents[1]
BUILD_PATIENCE = 1800.0  # seconds until a compiler is given up
RUN_PATIENCE = 600.0  # seconds until loading, or a turn beyond what it was asked for, is given up
_END_SECONDS = 3.0


class EngineFailedError(Exception):
    """The engine gave an error, ended, or took too long; the text says which, in one line."""


class Turns(Protocol):
    """An engine with a model loaded, waiting for its turn.

    Attributes:
        outputs: .npz of the outputs, in the model's order.
        run_seconds: one run, about.
        load_seconds, build_seconds: what loading took, and compiling or converting before that.
    """

    outputs: Path
    run_seconds: float
    load_seconds: float
    build_seconds: float

    def turn(self, seconds: float, least: int) -> list[float]:
        """Seconds of each run within about `seconds`, `least` at least. Raises EngineFailedError."""

    def close(self) -> None:
        """Ends it."""


class _Worker:
    """A process in a process group of its own: Ctrl-C reaches the parent alone, and what it starts ends with it."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by close(), as long-lived as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.engine_worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )

    def ask(self, request: str) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer will be missing, and says more
            self._process.stdin.write(f"{request}\n")
            self._process.stdin.flush()

    def answer(self, patience: float) -> Any:
        """The next answer. Raises NotAvailableError or EngineFailedError."""
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], patience)[0]:
            raise EngineFailedError(f"gave no answer in {patience:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise EngineFailedError(self._last_words())
        value = json.loads(line)
        if "unavailable" in value:
            raise NotAvailableError(value["unavailable"])
        if "failed" in value:
            raise EngineFailedError(value["failed"])
        return value

    def _last_words(self) -> str:
        code = self._process.wait()
        ended = f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        return f"{ended}: {' '.join(lines[-3:])}"[:300] if lines else ended

    def close(self) -> None:
        """End the process: kindly while it waits for a request, else by force."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


class EngineProcess:
    """An engine built, loaded and checked to run; see `Turns`."""

    def __init__(
        self,
        engine: Engine,
        model: Path,
        inputs: Path,
        folder: Path,
        processors: Sequence[int],
        patience: float = RUN_PATIENCE,
    ) -> None:
        """Start it.

        Args:
            folder: empty; for what the engine builds.
            processors: what it is bound to; their number is the number of threads.
            patience: seconds until loading is given up.

        Raises: NotAvailableError, EngineFailedError.
        """
        self.outputs = folder / "outputs.npz"
        bound = ",".join(map(str, processors))
        arguments = [engine.name, str(model), str(inputs), str(folder), str(self.outputs), bound]
        self.build_seconds = 0.0
        if engine.build is not None:
            with contextlib.closing(_Worker(["build", *arguments])) as builder:
                self.build_seconds = float(builder.answer(BUILD_PATIENCE)["build_seconds"])
        self._worker = _Worker(["run", *arguments])
        try:
            ready = self._worker.answer(patience)
        except BaseException:
            self._worker.close()
            raise
        self.load_seconds, self.run_seconds = float(ready["load_seconds"]), float(ready["run_seconds"])

    def turn(self, seconds: float, least: int) -> list[float]:
        """Seconds of each run within about `seconds`, `least` at least. Raises EngineFailedError."""
        self._worker.ask(f"{seconds} {least}")
        times: list[float] = self._worker.answer(seconds + RUN_PATIENCE)
        return times

    def close(self) -> None:
        """End the process."""
        self._worker.close()

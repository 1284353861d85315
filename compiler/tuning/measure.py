"""Measures candidates in a process of its own, which may crash or hang: the search goes on, and knows which it was."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ...errors import ToolError
from ..library.artifact import read_signature
from ..process.interpreter import command
from ..runners.device import HEADER
from .timings import Timing, Trial

_STILL_SECONDS = 20.0  # standing still for so long is a hang
_POLL_SECONDS = 0.01
_WORD = 8


@dataclass(frozen=True)
class Measured:
    """What came of measuring a library.

    Attributes:
        timings: of each trial; none where a kernel never came back.
        wrong: trials, by their places, with other results than the default.
        dead_step: the step that never came back; None where all did.
        hung: whether it stood still rather than crash.
    """

    timings: tuple[Timing, ...] = ()
    wrong: frozenset[int] = frozenset()
    dead_step: int | None = None
    hung: bool = False


@dataclass(frozen=True)
class Job:
    """What there is to measure; the fields are as `measure` has them."""

    library: Path
    inputs: Path
    trials: Sequence[Trial]
    threads: int
    seconds: float
    rtol: float


class Measurer(Protocol):
    """Where candidates are measured.

    Attributes:
        width: how many libraries at a time.
    """

    width: int

    def measured(self, jobs: Iterable[Job]) -> list[Measured]:
        """Runs libraries, each as soon as it is there; what came of each.

        Raises:
            ToolError: they cannot be run at all.
        """
        ...


class Here:
    """This machine."""

    width = 1

    def __init__(self, folder: Path) -> None:
        """Gets ready; `folder` is for files."""
        self._folder = folder

    def measured(self, jobs: Iterable[Job]) -> list[Measured]:
        """Runs one after the other."""
        return [
            measure(
                job.library,
                job.inputs,
                self._folder,
                job.trials,
                threads=job.threads,
                seconds=job.seconds,
                rtol=job.rtol,
            )
            for job in jobs
        ]


def measure(
    library: Path,
    inputs: Path,
    folder: Path,
    trials: Sequence[Trial],
    *,
    threads: int,
    seconds: float,
    rtol: float,
    still_seconds: float = _STILL_SECONDS,
) -> Measured:
    """Runs a library again and again.

    Args:
        library: with the kernels of all trials and of the defaults.
        inputs: an .npz of at least its inputs.
        folder: for the process's files.
        seconds: that it should take; up to three times that where there is noise.
        rtol: of outputs, over the largest value of each.
        still_seconds: how long a kernel may take before it counts as hung.

    Raises:
        ToolError: the process cannot be started, or ends before the first kernel begins.
    """
    steps = len(read_signature(library).steps)
    state_file, job_file, answer_file = (folder / name for name in ("state.bin", "job.json", "answer.json"))
    state_file.write_bytes(bytes(_WORD * (HEADER + steps)))
    answer_file.unlink(missing_ok=True)
    job = {
        "library": str(library),
        "inputs": str(inputs),
        "state": str(state_file),
        "answer": str(answer_file),
        "trials": [asdict(trial) for trial in trials],
        "threads": threads,
        "seconds": seconds,
        "rtol": rtol,
    }
    job_file.write_text(json.dumps(job))
    try:
        worker = command(f"{__package__}.measure_worker", f"main({str(job_file)!r})")
        process = subprocess.Popen(worker, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    except OSError as error:
        raise ToolError("a process for measurements cannot be started", where=sys.executable) from error
    with process, state_file.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
        try:
            hung = not _ended(process, memory, still_seconds)
            said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        except BaseException:
            process.kill()
            raise
        if process.returncode == 0 and answer_file.exists():
            answer = json.loads(answer_file.read_text())
            timings = tuple(Timing(**timing) for timing in answer["timings"])
            return Measured(timings, frozenset(answer["wrong"]))
        words = np.frombuffer(bytes(memory), np.uint64)
    if not words[0]:
        details = said.strip().splitlines()[-3:]
        raise ToolError("measurements cannot be made", where=str(library), details=details)
    done = np.flatnonzero(words[HEADER:])
    return Measured(dead_step=int(done[-1]) + 1 if done.size else 0, hung=hung)


def _ended(process: subprocess.Popen[bytes], memory: mmap.mmap, still_seconds: float) -> bool:
    """Waits for the end; False when it stood still and was killed."""
    before, since = b"", time.monotonic()
    while process.poll() is None:
        now = bytes(memory)
        if now != before:
            before, since = now, time.monotonic()
        elif time.monotonic() - since > still_seconds:
            process.kill()
            process.wait()
            return False
        time.sleep(_POLL_SECONDS)
    return True

"""Measures candidates in a process of its own, which may crash or hang: the search goes on, and knows which it was."""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ToolError
from ..library.artifact import read_signature
from ..process.interpreter import command
from .measure_worker import CANDIDATES, DEFAULTS, HEADER

_STILL_SECONDS = 20.0  # standing still for so long is a hang
_POLL_SECONDS = 0.02
_WORD = 8


@dataclass(frozen=True)
class Measured:
    """What came of measuring two libraries with the same outputs.

    Attributes:
        defaults, candidates: nanoseconds of each step, a row a round.
        wrong: outputs that differ between the two.
        dead_step: the step of the candidates that never came back; None where all did.
        hung: whether it stood still rather than crash.
    """

    defaults: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    candidates: np.ndarray[tuple[int, int], np.dtype[np.float64]]
    wrong: tuple[str, ...] = ()
    dead_step: int | None = None
    hung: bool = False


def measure(
    defaults: Path,
    candidates: Path,
    inputs: Path,
    folder: Path,
    *,
    threads: int,
    seconds: float,
    rtol: float,
    still_seconds: float = _STILL_SECONDS,
) -> Measured:
    """Runs both in turns.

    Args:
        defaults, candidates: libraries of the same inputs and outputs.
        inputs: an .npz.
        folder: for the process's files.
        seconds: that it should take; up to three times that where there is noise.
        rtol: of outputs, over the largest value of each.
        still_seconds: how long a kernel may take before it counts as hung.

    Raises:
        ToolError: the process cannot be started, or the library of defaults does not run.
    """
    steps = [len(read_signature(path).steps) for path in (defaults, candidates)]
    state_file, job_file, answer_file = (folder / name for name in ("state.bin", "job.json", "answer.json"))
    state_file.write_bytes(bytes(_WORD * (HEADER + sum(steps))))
    answer_file.unlink(missing_ok=True)
    job: Mapping[str, object] = {
        "defaults": str(defaults),
        "candidates": str(candidates),
        "inputs": str(inputs),
        "state": str(state_file),
        "answer": str(answer_file),
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
            rounds = np.array([row[0] for row in answer["rounds"]]), np.array([row[1] for row in answer["rounds"]])
            return Measured(*rounds, wrong=tuple(answer["wrong"]))
        words = np.frombuffer(bytes(memory), np.uint64)
    nothing = np.zeros((0, 0))
    if int(words[0]) != CANDIDATES:
        what = "the default library does not run" if int(words[0]) == DEFAULTS else "measurements cannot be made"
        raise ToolError(what, where=str(defaults), details=said.strip().splitlines()[-3:])
    times = words[HEADER + steps[0] :]
    done = np.flatnonzero(times)
    return Measured(nothing, nothing, dead_step=int(done[-1]) + 1 if done.size else 0, hung=hung)


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

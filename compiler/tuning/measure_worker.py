"""What a measuring process runs: a library of candidates and their defaults, again and again, kernel by kernel.

The job is a JSON file, the answer another one. Where it stands it writes into a file that both sides map: whether
kernels run, the number of the run, and the time of each kernel as soon as it is done. So whoever finds this process
dead, or standing still, knows which kernel it was.
"""

from __future__ import annotations

import json
import mmap
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..library.artifact import load
from ..runners.device import HEADER
from .timings import LEAST_ROUNDS, Floats, Trial, agrees, timings_of

_MOST_ROUNDS = 60
_SOURCES = 2  # places of inputs: a kernel that reads two tensors finds them in two
_MORE_TIME = 3.0  # how much longer than asked it may take where there is noise

Words = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]


def main(job_file: str) -> None:
    """Does the job of a file."""
    job: dict[str, Any] = json.loads(Path(job_file).read_text())
    trials = [Trial(**trial) for trial in job["trials"]]
    with np.load(job["inputs"]) as values:
        inputs = dict(values)
    with Path(job["state"]).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        state: Words = np.frombuffer(memory, np.uint64)
        answer = _measured(job, trials, inputs, state)
        state = np.zeros(0, np.uint64)  # gives the memory back
    Path(job["answer"]).write_text(json.dumps(answer))


def _measured(
    job: Mapping[str, Any], trials: Sequence[Trial], inputs: Mapping[str, Array], state: Words
) -> dict[str, Any]:
    library = load(job["library"])
    if library.signature.threaded:
        library.set_num_threads(job["threads"])
    names = [spec.name for spec in library.inputs]
    inputs = dict(zip(names, _overlapping([inputs[name] for name in names], _SOURCES), strict=True))
    results = _overlapping(library.empty_outputs(), 1)
    times = state[HEADER:]

    def run() -> Floats:
        state[0] = 1
        library.profile(inputs, times, results)
        state[0] = 0
        state[1] += 1
        return times.astype(np.float64)

    run()  # a crash is found with its kernel
    outputs = library.run(inputs)
    wrong = [place for place, trial in enumerate(trials) if not agrees(trial, outputs, job["rtol"])]
    del outputs
    rounds: list[Floats] = []
    begin = time.perf_counter()
    while len(rounds) < _MOST_ROUNDS:
        passed = time.perf_counter() - begin
        if len(rounds) >= LEAST_ROUNDS and passed > job["seconds"]:
            timings = timings_of(trials, rounds)
            if passed > _MORE_TIME * job["seconds"] or not any(timing.is_noisy for timing in timings):
                break
        rounds.append(run())
    return {"wrong": wrong, "timings": [asdict(timing) for timing in timings_of(trials, rounds)]}


def _overlapping(arrays: Sequence[Array], places: int) -> list[Array]:
    """The same arrays in so many places of each dtype, in turns: caches see as little memory as in a network's arena.

    What the largest array of a place holds, the others hold too.
    """
    found: list[Array] = []
    for number, array in enumerate(arrays):
        group = [other for other in arrays[number % places :: places] if other.dtype == array.dtype]
        largest = max(group, key=lambda each: each.size)
        found.append(largest.reshape(-1)[: array.size].reshape(array.shape))
    return found

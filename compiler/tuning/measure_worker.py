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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..library.artifact import load
from ..verification.compare import compare

HEADER = 2  # words before the times: whether kernels run, and how many runs are done
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 60
_NOISE = 0.02  # the uncertainty of a median that is small enough
_SOURCES = 2  # places of inputs: a kernel that reads two tensors finds them in two
_MORE_TIME = 3.0  # how much longer than asked it may take where there is noise

Words = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Steps = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Trial:
    """A candidate in a library.

    Attributes:
        steps, default_steps: of the library, each with the number of times that the model calls its kernel.
        outputs: that the candidate's kernels make, each with the one of the default that it has to be like.
    """

    steps: Steps
    default_steps: Steps
    outputs: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Timing:
    """What a trial takes.

    Attributes:
        ratio: of its time to the default's, the median of those that ran one after the other.
        uncertainty: of the ratio.
        seconds, default_seconds: in one run of the model, medians.
    """

    ratio: float
    uncertainty: float
    seconds: float
    default_seconds: float

    @property
    def is_noisy(self) -> bool:
        """Whether it may be faster than the default, but how much is not known."""
        return self.uncertainty > _NOISE and self.ratio - 2 * self.uncertainty < 1


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
    wrong = [place for place, trial in enumerate(trials) if not _agrees(trial, outputs, job["rtol"])]
    del outputs
    rounds: list[Floats] = []
    begin = time.perf_counter()
    while len(rounds) < _MOST_ROUNDS:
        passed = time.perf_counter() - begin
        if len(rounds) >= _LEAST_ROUNDS and passed > job["seconds"]:
            timings = _timings(trials, rounds)
            if passed > _MORE_TIME * job["seconds"] or not any(timing.is_noisy for timing in timings):
                break
        rounds.append(run())
    return {"wrong": wrong, "timings": [asdict(timing) for timing in _timings(trials, rounds)]}


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


def _agrees(trial: Trial, outputs: Mapping[str, Array], rtol: float) -> bool:
    return all(compare(name, outputs[name], outputs[like], rtol).passed for name, like in trial.outputs)


def _timings(trials: Sequence[Trial], rounds: Sequence[Floats]) -> list[Timing]:
    table = np.array(rounds) / 1e9
    return [_timing(_total(table, trial.steps), _total(table, trial.default_steps)) for trial in trials]


def _total(table: Floats, steps: Steps) -> Floats:
    places, calls = zip(*steps, strict=True)
    total: Floats = table[:, list(places)] @ np.array(calls, np.float64)
    return total


def _timing(candidate: Floats, default: Floats) -> Timing:
    """The uncertainty is the spread of the middle half, over the root of n."""
    ratios = candidate / np.maximum(default, 1e-9)
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    uncertainty = (high - low) / np.sqrt(len(ratios))
    return Timing(float(middle), float(uncertainty), float(np.median(candidate)), float(np.median(default)))

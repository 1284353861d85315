"""What a measuring process runs: a library of candidates and one of defaults in turns, kernel by kernel.

The job is a JSON file, the answer another one. Where it stands it writes into a file that both sides map: the library
that runs, the number of the run, and the time of each kernel as soon as it is done. So whoever finds this process dead,
or standing still, knows which kernel it was.
"""

from __future__ import annotations

import json
import mmap
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..library.artifact import load
from ..verification.compare import compare_all

NOBODY, DEFAULTS, CANDIDATES = 0, 1, 2
HEADER = 2  # words before the times: who runs, and how many runs are done
_LEAST_ROUNDS, _MOST_ROUNDS = 5, 60
_NOISE = 0.02  # the uncertainty of a median that is small enough
_MORE_TIME = 3.0  # how much longer than asked it may take where there is noise

Times = npt.NDArray[np.uint64]


def main(job_file: str) -> None:
    """Does the job of a file."""
    job: dict[str, Any] = json.loads(Path(job_file).read_text())
    with np.load(job["inputs"]) as values:
        inputs = dict(values)
    with Path(job["state"]).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        state: Times = np.frombuffer(memory, np.uint64)
        answer = _measured(job, inputs, state)
        state = np.zeros(0, np.uint64)  # gives the memory back
    Path(job["answer"]).write_text(json.dumps(answer))


def _measured(job: dict[str, Any], inputs: dict[str, Any], state: Times) -> dict[str, Any]:
    libraries = [load(path) for path in (job["defaults"], job["candidates"])]
    for library in libraries:
        library.set_num_threads(job["threads"])
    counts = [len(library.signature.steps) for library in libraries]
    first = [HEADER, HEADER + counts[0]]
    places = [state[at : at + count] for at, count in zip(first, counts, strict=True)]

    def run(who: int) -> npt.NDArray[np.float64]:
        state[0] = who + 1
        libraries[who].profile(inputs, places[who])
        state[0] = NOBODY
        state[1] += 1
        return places[who].astype(np.float64)

    outputs = []
    for who, library in enumerate(libraries):
        run(who)  # a crash of the candidates is found with its kernel
        outputs.append(library.run(inputs))
    wrong = [each.output for each in compare_all(outputs[1], outputs[0], job["rtol"]) if not each.passed]
    rounds: list[list[npt.NDArray[np.float64]]] = []
    begin = time.perf_counter()
    while len(rounds) < _MOST_ROUNDS:
        passed = time.perf_counter() - begin
        is_time = len(rounds) >= _LEAST_ROUNDS and passed > job["seconds"]
        if is_time and (passed > _MORE_TIME * job["seconds"] or _uncertainty(rounds) < _NOISE):
            break
        order = (0, 1) if len(rounds) % 2 else (1, 0)
        times = {who: run(who) for who in order}
        rounds.append([times[0], times[1]])
    return {"wrong": wrong, "rounds": [[each.tolist() for each in pair] for pair in rounds]}


def _uncertainty(rounds: list[list[npt.NDArray[np.float64]]]) -> float:
    """Of the median ratio of all kernels together: half the spread of its middle half, over the root of n."""
    totals = np.array([[pair[0].sum(), pair[1].sum()] for pair in rounds])
    ratios = totals[:, 1] / np.maximum(totals[:, 0], 1)
    low, high = np.quantile(ratios, (0.25, 0.75))
    return float((high - low) / 2 / np.sqrt(len(rounds)))

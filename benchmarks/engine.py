"""One engine with one model in a process of its own, which `benchmarks.compare` starts and drives through pipes.

    python -m benchmarks.engine NAME MODEL INPUTS.npz OUTPUTS.npz CPUS

MODEL is an ONNX file, or a library that Tilewright compiled if NAME is "tilewright". CPUS, such as "0,2", are the
processors that the process is bound to before anything is loaded, so that thread pools count them and no others. It
loads the model, runs it once, writes the outputs, prints one line of JSON. After that each line `SECONDS` on stdin is
answered by a line of JSON: the seconds of every run that fitted in. It ends with its stdin.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tilewright
from tilewright.compiler.peers import PEERS, open_peer

Array = np.ndarray[Any, Any]
Session = tuple[Callable[[], dict[str, Array]], Callable[[], object], str]

TILEWRIGHT = "tilewright"
ENGINES = (TILEWRIGHT, *PEERS)
LEAST_RUNS = 3


def open_session(engine: str, model: Path, inputs: Mapping[str, Array], threads: int) -> Session:
    """A model ready to run: a function to the outputs by name, one for timing alone, and the engine's version.

    Raises: UsageError for an unknown engine, ToolError for one that is not installed, ModelError or LibraryError if it
    cannot load the model.
    """
    if engine == TILEWRIGHT:
        compiled = tilewright.load(model)
        given = dict(inputs)
        return lambda: compiled.run(given), lambda: compiled.run(given), tilewright.__version__
    peer = open_peer(engine, model, threads)
    return lambda: peer.run(inputs), peer.prepare(inputs), peer.version


def time_runs(run: Callable[[], object], seconds: float) -> list[float]:
    """The seconds of each of as many runs as fit, at least LEAST_RUNS."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_RUNS or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return times


def main(arguments: list[str]) -> int:
    """The process; returns the exit code: that of the error if the model cannot be loaded."""
    engine, model, inputs_file, outputs_file, processors = arguments
    bound = {int(processor) for processor in processors.split(",")}
    os.sched_setaffinity(0, bound)
    os.environ["OMP_NUM_THREADS"] = str(len(bound))
    try:
        with np.load(inputs_file) as archive:
            inputs = {name: archive[name] for name in archive.files}
        start = time.perf_counter()
        outputs, run, version = open_session(engine, Path(model), inputs, len(bound))
        load_seconds = time.perf_counter() - start
        results: dict[str, Any] = dict(outputs())
    except tilewright.errors.TilewrightError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    np.savez(outputs_file, allow_pickle=False, **results)
    print(json.dumps({"version": version, "load_seconds": load_seconds}), flush=True)
    for line in sys.stdin:
        print(json.dumps(time_runs(run, float(line))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

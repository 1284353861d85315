"""One engine with one model in a process of its own, which `benchmarks.engine_process` starts and drives.

    python -m benchmarks.engine_worker build|run ENGINE MODEL INPUTS.npz FOLDER OUTPUTS.npz CPUS

`build` compiles or converts the model into FOLDER and ends. `run` binds the process to the processors CPUS, such as
"0,2", before anything is loaded, so that thread pools count them and no others; it loads the model, runs it and writes
the outputs. Then each line `SECONDS RUNS` on stdin is answered by the seconds of every run that fitted in, RUNS at
least. It ends with its stdin.

Every answer is one line of JSON on stdout: a list of seconds, or an object that holds "unavailable" (the engine cannot
take this model), "failed", or the numbers of a start. What engines print goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tilewright.compiler.runners.local import time_runs

from .engines import ENGINES
from .engines.engine import Array, Engine, Job, Session
from .engines.gpu import GPU_ENGINES
from .not_available import NotAvailableError

LONGEST_REASON = 300


def describe(error: BaseException, folder: Path) -> str:
    """An exception in one line, without the name of the temporary `folder`, which is another one each time."""
    lines = [line.strip(" -") for line in str(error).replace(f"{folder}/", "").splitlines() if line.strip()]
    name = "" if hasattr(error, "exit_code") else f"{type(error).__name__}: "  # Tilewright's errors are sentences
    return (name + ("; ".join(lines[:4]) or "no message"))[:LONGEST_REASON]


def _start(engine: Engine, job: Job, outputs_file: Path) -> tuple[Session, dict[str, Any]]:
    """A session that has run, its outputs written, and what the parent wants to know of it."""
    with np.load(job.inputs) as archive:
        inputs: Mapping[str, Array] = {name: archive[name] for name in archive.files}
    start = time.perf_counter()
    session = engine.load(job, inputs)
    outputs = session.outputs()  # of engines that compile at the first run, this is part of loading
    loaded = time.perf_counter()
    session.run()
    ran = time.perf_counter()
    np.savez(outputs_file, *outputs, allow_pickle=False)
    return session, {"load_seconds": loaded - start, "run_seconds": ran - loaded}


def serve(arguments: list[str], answers: TextIO, requests: TextIO) -> int:
    """Do what the command line says, then what each request says; returns the exit code."""

    def answer(value: object) -> None:
        print(json.dumps(value), file=answers, flush=True)

    action, name, model, inputs_file, folder, outputs_file, processors = arguments
    bound = {int(processor) for processor in processors.split(",")}
    engine, job = {**ENGINES, **GPU_ENGINES}[name], Job(Path(model), Path(inputs_file), Path(folder), len(bound))
    try:
        if action == "build":
            start = time.perf_counter()
            if engine.build is not None:
                engine.build(job)
            answer({"build_seconds": time.perf_counter() - start})
            return 0
        os.sched_setaffinity(0, bound)
        os.environ["OMP_NUM_THREADS"] = str(len(bound))
        session, ready = _start(engine, job, Path(outputs_file))
    except NotAvailableError as reason:
        answer({"unavailable": str(reason).splitlines()[0][:LONGEST_REASON]})
        return 0
    except Exception as error:  # engines have exceptions of their own, most of them not documented
        answer({"failed": describe(error, job.folder)})
        return 1
    answer(ready)
    for line in requests:
        seconds, least = line.split()
        answer(time_runs(session.run, int(least), float(seconds)))
    return 0


def main(arguments: list[str]) -> int:
    """The process: keeps stdout for the answers."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return serve(arguments, answers, sys.stdin)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

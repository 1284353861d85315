"""Engines on a GPU, in turns, within so many minutes: what no longer fits is left out, and said to be.

All engines of a model start at the same time, as most of them take long to load; then one runs at a time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tilewright.compiler.process.temporary import temporary_folder

from ..engine_process import ROOT, EngineProcess, Turns
from ..engines.engine import Engine
from ..engines.gpu import GPU_ENGINES, PRECISIONS
from ..engines.gpu_tilewright import library_of
from ..measurement import Measurement
from ..rounds import Schedule, measure
from .building import EXPECTED

_DETAIL_SECONDS = 60.0  # that the details of a library may take


_SCHEDULE = Schedule(rounds=5, seconds=0.3, engine_seconds=3.0)


@dataclass(frozen=True)
class Plan:
    """How long to measure.

    Attributes:
        minutes: in all.
        schedule: of each model.
        patience: seconds that an engine may take to load.
    """

    minutes: float = 4.5
    schedule: Schedule = _SCHEDULE
    patience: float = 90.0


def run(folder: Path, engines: Sequence[str], plan: Plan, tell: Callable[[str], None]) -> dict[str, Any]:
    """Measures every library of a folder, and the peers.

    Returns:
        `measurements` of models and engines, `details` of libraries, and what was `left_out`, as JSON takes them.
    """
    end = time.monotonic() + plan.minutes * 60
    measurements: list[Measurement] = []
    details: dict[str, Any] = {}
    left_out: list[str] = []
    for precision in PRECISIONS:
        for expected in sorted(folder.glob(f"*{EXPECTED}")):
            model = expected.with_name(expected.name.removesuffix(EXPECTED) + ".onnx")
            library = library_of(model, precision)
            if not library.exists():
                continue
            left = end - time.monotonic()
            if left <= 0:
                left_out.append(library.name)
                continue
            tell(f"{library.name}: {left:.0f} s left")
            chosen = [GPU_ENGINES[name] for name in engines if GPU_ENGINES[name].precision == PRECISIONS[precision]]
            measurements += _measured(model, expected, chosen, plan, min(left, plan.patience))
            details[library.name] = _details(library, plan.schedule.seconds, end - time.monotonic())
    return {"measurements": [asdict(each) for each in measurements], "details": details, "left_out": left_out}


def _measured(model: Path, expected: Path, engines: Sequence[Engine], plan: Plan, patience: float) -> list[Measurement]:
    processors = sorted(os.sched_getaffinity(0))
    with temporary_folder() as folder, ThreadPoolExecutor(max(1, len(engines))) as threads:
        starting: dict[str, Future[EngineProcess]] = {}
        for engine in engines:
            if not engine.why_unavailable():
                place = folder / f"{engine.name}.files"
                place.mkdir()
                given = (engine, model, model.with_suffix(".npz"), place, processors, patience)
                starting[engine.name] = threads.submit(EngineProcess, *given)

        def started(engine: Engine, *_: object) -> Turns:
            return starting[engine.name].result()

        return measure(model, engines, processors, plan.schedule, folder, start=started, expected=expected)


def _details(library: Path, seconds: float, left: float) -> Mapping[str, Any]:
    """What `details` prints of a library, or why it did not."""
    command = [sys.executable, "-m", "benchmarks.cuda.details", str(library.resolve()), str(seconds)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=max(1.0, min(left, _DETAIL_SECONDS)), check=True
        )
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"failed": "no time left"}
    except subprocess.CalledProcessError as error:
        return {"failed": " ".join(error.stderr.split()[-40:])}
    return found

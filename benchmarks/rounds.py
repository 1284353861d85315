"""Engines in turns on one model.

Machines are noisy and change their clock, so that only times taken close together compare: in every round each engine
runs for a moment while the others wait. What is compared later is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tilewright.compiler.verification.compare import compare

from .engine_process import EngineFailedError, EngineProcess, Turns
from .engines.engine import FLOAT32, Engine
from .measurement import FAILED, MEASURED, NOT_AVAILABLE, WRONG, Measurement
from .not_available import NotAvailableError

REFERENCE = "onnxruntime"
LEAST_RUNS = 3  # in a turn, of an engine whose runs are shorter than a turn
_SETTLE_SECONDS = 0.05  # threads of the engine before are still spinning

Announce = Callable[[str], None]
Start = Callable[[Engine, Path, Path, Path, Sequence[int]], Turns]


@dataclass(frozen=True)
class Schedule:
    """How long to measure.

    Attributes:
        rounds: turns of each engine.
        seconds: of a turn.
        engine_seconds: of all turns of one engine: slow ones get fewer rounds, one at least.
    """

    rounds: int = 9
    seconds: float = 1.0
    engine_seconds: float = 30.0

    def least_runs(self, run_seconds: float) -> int:
        """How often an engine runs in a turn at least."""
        return LEAST_RUNS if run_seconds < self.seconds else 1

    def rounds_for(self, run_seconds: float) -> int:
        """In how many rounds an engine takes part whose run takes `run_seconds`."""
        turn = max(self.seconds, self.least_runs(run_seconds) * run_seconds)
        return min(self.rounds, max(1, int(self.engine_seconds / turn)))


def largest_error(actual: Path, reference: Path, rtol: float) -> float:
    """The largest |difference| of all outputs over the largest |reference| of the same output.

    Infinite where number or shapes of the outputs differ, and where one is NaN or infinite and the other is not.
    """
    with np.load(actual) as results, np.load(reference) as references:
        if len(results.files) != len(references.files):
            return math.inf
        pairs = zip(results.files, references.files, strict=True)
        found = [compare(name, results[got], references[name], rtol) for got, name in pairs]
    return max((math.inf if each.problem else each.relative_error for each in found), default=0.0)


def measure(
    model: Path,
    engines: Sequence[Engine],
    processors: Sequence[int],
    schedule: Schedule,
    folder: Path,
    announce: Announce = lambda text: None,
    start: Start = EngineProcess,
    expected: Path | None = None,
) -> list[Measurement]:
    """Every engine on one model.

    Args:
        model: ONNX file; NAME.npz beside it holds the inputs.
        processors: what each engine is bound to; their number is the number of threads.
        folder: for what engines build and put out; this gives each a folder in it.
        announce: told what is going on.
        start: makes an engine ready.
        expected: .npz of outputs, in the model's order, that all are held to; by default one engine's.

    Returns: one for each of `engines`, in their order.
    """
    results: dict[str, Measurement] = {}
    opened: dict[str, Turns] = {}
    with contextlib.ExitStack() as stack:
        for engine in engines:
            base = Measurement(model.stem, len(processors), engine.name, FAILED, version=engine.version, date=_now())
            reason = engine.why_unavailable()
            if reason:
                results[engine.name] = replace(base, state=NOT_AVAILABLE, reason=reason, version="")
                continue
            announce(f"starting {engine.name}")
            place = folder / engine.name
            place.mkdir()
            results[engine.name] = base
            try:
                opened[engine.name] = start(engine, model, model.with_suffix(".npz"), place, processors)
                stack.callback(opened[engine.name].close)
            except NotAvailableError as error:
                results[engine.name] = replace(base, state=NOT_AVAILABLE, reason=str(error))
            except EngineFailedError as error:
                results[engine.name] = replace(base, reason=str(error))
        turns = _take_turns(opened, schedule, announce)
        reference = expected.name if expected is not None else _reference(engines, opened)
        if expected is None and reference:
            expected = opened[reference].outputs
        for engine in engines:
            if engine.name in opened:
                result = replace(results[engine.name], reference=reference)
                tolerance = engine.tolerance
                results[engine.name] = _judge(result, opened[engine.name], turns[engine.name], expected, tolerance)
    return [results[engine.name] for engine in engines]


def _judge(
    result: Measurement, engine: Turns, turns: list[list[float]] | str, expected: Path | None, tolerance: float
) -> Measurement:
    """`result` with what was measured, and whether that counts.

    Args:
        turns: seconds of each run in each round, or why there are none.
        expected: the reference's outputs.
    """
    if isinstance(turns, str):
        return replace(result, reason=turns)
    error = largest_error(engine.outputs, expected, tolerance) if expected else None
    right = error is None or error <= tolerance
    return replace(
        result,
        state=MEASURED if right else WRONG,
        reason="" if right else f"differs from {result.reference} by {error:.1e} of the largest value",
        round_ms=tuple(statistics.median(turn) * 1e3 for turn in turns),
        runs=sum(map(len, turns)),
        error=error,
        load_seconds=engine.load_seconds,
        build_seconds=engine.build_seconds,
    )


def _take_turns(
    opened: Mapping[str, Turns], schedule: Schedule, announce: Announce
) -> dict[str, list[list[float]] | str]:
    """The seconds of each run in each round of each engine, or why it failed."""
    taken: dict[str, list[list[float]] | str] = {name: [] for name in opened}

    def turn(name: str, seconds: float) -> list[float]:
        """A turn; of an engine that fails then, an empty one."""
        time.sleep(_SETTLE_SECONDS)
        try:
            return opened[name].turn(seconds, schedule.least_runs(opened[name].run_seconds))
        except EngineFailedError as error:
            taken[name] = f"while it was timed: {error}"
            return []

    announce("warming up")
    for name, engine in opened.items():
        if engine.run_seconds < schedule.seconds / 2:  # a longer run was enough of that
            turn(name, schedule.seconds / 2)
    names = list(opened)
    for number in range(schedule.rounds if names else 0):
        announce(f"round {number + 1} of {schedule.rounds}")
        first = number % len(names)
        for name in names[first:] + names[:first]:  # nobody is always first
            rounds = taken[name]
            if isinstance(rounds, list) and number < schedule.rounds_for(opened[name].run_seconds):
                times = turn(name, schedule.seconds)
                if times:
                    rounds.append(times)
    return taken


def _reference(engines: Sequence[Engine], opened: Mapping[str, Turns]) -> str:
    """Whose outputs the others are held to: REFERENCE, or else the first float32 peer that ran; empty without one."""
    peers = [engine.name for engine in engines if not engine.ours and engine.precision == FLOAT32]
    ran = [name for name in peers if name in opened]
    return REFERENCE if REFERENCE in ran else next(iter(ran), "")


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")

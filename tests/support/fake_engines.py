"""Engines for tests of the benchmark: they compute nothing, and tell what they were asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tilewright.benchmarks.engine_process import EngineFailedError
from tilewright.benchmarks.engines.engine import FLOAT32, Engine, Job, Session
from tilewright.benchmarks.measurement import MEASURED, Measurement
from tilewright.benchmarks.not_available import NotAvailableError


def _never(job: Job, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Session:
    raise AssertionError("a fake engine is not loaded in a process")


def fake_engine(name: str, *, precision: str = FLOAT32, ours: bool = False, unavailable: str = "") -> Engine:
    """A row of the table; its package is one that is installed."""
    return Engine(name, ("numpy",), _never, precision=precision, ours=ours, unavailable=lambda: unavailable)


@dataclass
class Fake:
    """How an engine behaves: the seconds of a run, what it puts out, and how it fails."""

    run_seconds: float = 0.01
    output: Sequence[float] = (1.0, 2.0)
    refuses: str = ""
    fails: str = ""
    fails_in_turn: int = -1


@dataclass
class Stage:
    """Starts fake engines, and keeps the order in which they ran."""

    fakes: Mapping[str, Fake] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def start(self, engine: Engine, model: Path, inputs: Path, folder: Path, processors: Sequence[int]) -> FakeTurns:
        """As `EngineProcess` does."""
        fake = self.fakes.get(engine.name, Fake())
        if fake.refuses:
            raise NotAvailableError(fake.refuses)
        if fake.fails:
            raise EngineFailedError(fake.fails)
        outputs = folder / "outputs.npz"
        np.savez(outputs, np.array(fake.output))
        return FakeTurns(engine.name, fake, outputs, self)


class FakeTurns:
    """A fake engine that is ready."""

    load_seconds = 0.5
    build_seconds = 0.25

    def __init__(self, name: str, fake: Fake, outputs: Path, stage: Stage) -> None:
        self.name, self.fake, self.outputs, self.stage = name, fake, outputs, stage
        self.run_seconds = fake.run_seconds
        self.turns = 0

    def turn(self, seconds: float, least: int) -> list[float]:
        """As many runs as fit."""
        self.stage.played.append(self.name)
        self.turns += 1
        if self.turns - 1 == self.fake.fails_in_turn:
            raise EngineFailedError("ended by SIGSEGV")
        return [self.run_seconds] * max(least, int(seconds / self.run_seconds))

    def close(self) -> None:
        """Notes it."""
        self.stage.closed.append(self.name)


def measured(engine: str, *round_ms: float, model: str = "net", threads: int = 1, **fields: Any) -> Measurement:
    """A measurement with these rounds."""
    known: dict[str, Any] = {"state": MEASURED, "version": "1.0", "runs": 10 * len(round_ms), "error": 1e-6, **fields}
    return Measurement(model, threads, engine, round_ms=round_ms, **known)


def table(*engines: Engine) -> dict[str, Engine]:
    """Engines by name."""
    return {engine.name: engine for engine in engines}

"""Noise: known by its spread, measured again, and never taken for speed. Slots go where seconds may be won."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import tilewright
from tilewright import targets
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.tuning import session
from tilewright.compiler.tuning.timings import Timing, timing_of
from tilewright.compiler.tuning.trial_library import NOISY, Result, TrialLibrary, _in_turns
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.tuner.records import OK, read
from tilewright.schedules.tuner.search import Sampling, Task, make_task, shared_out

DIGITS = Path(tilewright.__file__).parent / "examples" / "models" / "digits_cnn.onnx"
TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)


@pytest.mark.parametrize(("spread", "ratio", "noisy"), [(0.01, 0.9, False), (0.9, 0.9, True), (0.9, 5.0, False)])
def test_noise_is_known_by_its_spread_and_matters_to_what_may_win(spread: float, ratio: float, noisy: bool) -> None:
    generator = np.random.default_rng(0)
    default = 1e-3 * (1 + spread * generator.random(20))
    assert timing_of(ratio * 1e-3 * (1 + spread * generator.random(20)), default).is_noisy == noisy


def test_a_machine_that_slows_down_does_it_to_both() -> None:
    slower = np.linspace(1, 3, 20)
    found = timing_of(0.8e-3 * slower, 1e-3 * slower)
    assert found.ratio == pytest.approx(0.8) and found.uncertainty < 1e-9


def test_candidates_take_turns() -> None:
    assert _in_turns(["a", "a", "b", "a", "b"]) == [0, 2, 1, 4, 3]


def test_what_is_noisy_is_measured_again_and_then_taken_to_be_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    timing = Timing(ratio=0.9, uncertainty=0.1, seconds=1e-3, default_seconds=1e-3)

    def measure(self: TrialLibrary, candidates: list[object], seconds: float) -> list[Result]:
        asked.append([str(each) for each in candidates])
        return [Result(NOISY, timing) for _ in candidates]

    monkeypatch.setattr(TrialLibrary, "measure", measure)
    path = tmp_path / "r.jsonl"
    found = tilewright.tune(DIGITS, records=path, trials=4, options=CompileOptions(threads=1, jobs=1))

    assert asked[1] == asked[0] and len(asked) == 2
    assert [(each.state, each.ratio) for each in read(path)[0]] == [(OK, pytest.approx(1.1))] * 4
    assert all(task.best is None for task in found.tasks) and found.measured == 4


def task_of(seconds: float, since: int = 0) -> Task:
    found = make_task([CONTRACTION], Workload(1, 49, 96, (160,)), TARGET, random.Random(0))
    found.seconds, found.since = seconds, since
    return found


def test_slots_go_where_seconds_may_be_won() -> None:
    heavy, light, tired = task_of(10.0), task_of(1.0), task_of(10.0, since=14)
    found = shared_out([heavy, light, tired], 12, 8)
    assert found[0] == 8 and found.get(1, 0) + found.get(2, 0) == 4
    assert shared_out([heavy], 12, 8) == {0: 8}


def test_samples_are_spread_over_a_space() -> None:
    task = task_of(1.0)
    proposed = Sampling(0).proposals(task, 40)
    places = [task.candidates.index(each) for each in proposed]
    assert len(set(places)) == 40
    assert min(places) < len(task.candidates) / 4 and max(places) > len(task.candidates) / 2


@pytest.mark.parametrize("state", [OK, NOISY])
def test_limits_of_each_task_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    timing = Timing(ratio=1.2, uncertainty=0.0, seconds=1e-3, default_seconds=1e-3)
    monkeypatch.setattr(
        TrialLibrary, "measure", lambda self, candidates, s: [Result(state, timing) for _ in candidates]
    )
    limits = session.Limits(trials_of_each=5, stops_early=False)
    found = session.tune(DIGITS, CompileOptions(threads=1, jobs=1), tmp_path / "r.jsonl", limits)
    assert {task.tried for task in found.tasks} == {5}

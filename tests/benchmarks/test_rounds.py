"""Turns of engines: their order, how many slow ones get, and what becomes of those that fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_engines import Fake, Stage, fake_engine
from tilewright.benchmarks import rounds
from tilewright.benchmarks.engines.engine import BFLOAT16, Engine
from tilewright.benchmarks.measurement import FAILED, MEASURED, NOT_AVAILABLE, WRONG, Measurement
from tilewright.benchmarks.rounds import Schedule

OWN = fake_engine("tilewright", ours=True)
ORT = fake_engine("onnxruntime")
OTHER = fake_engine("openvino")
ALL = (OWN, ORT, OTHER)


@pytest.fixture(autouse=True)
def _no_settling(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "_SETTLE_SECONDS", 0.0)


def play(tmp_path: Path, stage: Stage, *engines: Engine, schedule: Schedule | None = None) -> dict[str, Measurement]:
    schedule = schedule or Schedule(rounds=3, seconds=0.1)
    results = rounds.measure(tmp_path / "net.onnx", engines, [0], schedule, tmp_path, start=stage.start)
    assert [each.engine for each in results] == [each.name for each in engines]
    return {each.engine: each for each in results}


def test_engines_alternate_and_nobody_is_always_first(tmp_path: Path) -> None:
    stage = Stage()
    results = play(tmp_path, stage, *ALL)
    warm_up, first, second, third = (stage.played[i : i + 3] for i in range(0, 12, 3))
    assert warm_up == first == ["tilewright", "onnxruntime", "openvino"]
    assert second == ["onnxruntime", "openvino", "tilewright"]
    assert third == ["openvino", "tilewright", "onnxruntime"]
    assert sorted(stage.closed) == sorted(results)
    assert all(each.state == MEASURED and each.runs == 30 for each in results.values())
    assert results["openvino"].round_ms == pytest.approx((10, 10, 10))
    assert results["openvino"].load_seconds == 0.5 and results["openvino"].build_seconds == 0.25


def test_a_slow_engine_gets_fewer_rounds_and_one_run_in_each(tmp_path: Path) -> None:
    stage = Stage({"openvino": Fake(run_seconds=4.0)})
    results = play(tmp_path, stage, *ALL, schedule=Schedule(rounds=9, seconds=1.0, engine_seconds=20))
    assert len(results["openvino"].round_ms) == results["openvino"].runs == 5
    assert len(results["tilewright"].round_ms) == 9
    assert stage.played.count("openvino") == 5  # its first run was warm-up enough


@pytest.mark.parametrize(("run_seconds", "turns", "least"), [(0.001, 9, 3), (0.9, 9, 3), (4.0, 7, 1), (100.0, 1, 1)])
def test_the_schedule_caps_rounds_by_time(run_seconds: float, turns: int, least: int) -> None:
    schedule = Schedule(rounds=9, seconds=1.0, engine_seconds=30.0)
    assert (schedule.rounds_for(run_seconds), schedule.least_runs(run_seconds)) == (turns, least)
    assert Schedule(rounds=2).rounds_for(run_seconds) == min(2, turns)


def test_what_cannot_run_is_listed_with_the_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    missing = fake_engine("iree", unavailable="not installed")
    stage = Stage({"openvino": Fake(fails="RuntimeError: no such operator"), "litert": Fake(refuses="no source")})
    results = play(tmp_path, stage, *ALL, fake_engine("litert"), missing)
    assert [(each.state, each.reason) for each in results.values()] == [
        (MEASURED, ""),
        (MEASURED, ""),
        (FAILED, "RuntimeError: no such operator"),
        (NOT_AVAILABLE, "no source"),
        (NOT_AVAILABLE, "not installed"),
    ]
    assert results["iree"].version == "" and results["litert"].version


@pytest.mark.parametrize("turn", [0, 2])
def test_an_engine_that_dies_while_it_is_timed_counts_for_nothing(tmp_path: Path, turn: int) -> None:
    stage = Stage({"openvino": Fake(fails_in_turn=turn)})
    results = play(tmp_path, stage, *ALL)
    assert results["openvino"].state == FAILED and results["openvino"].round_ms == ()
    assert results["openvino"].reason == "while it was timed: ended by SIGSEGV"
    assert stage.played.count("openvino") == turn + 1
    assert len(results["tilewright"].round_ms) == 3


def test_outputs_are_held_to_the_reference_within_the_precision(tmp_path: Path) -> None:
    rough = Fake(output=(1.0, 2.02))
    stage = Stage({"openvino": rough, "openvino-bf16": rough, "wrong-bf16": Fake(output=(2.0, 1.0))})
    half = [fake_engine(name, precision=BFLOAT16) for name in ("openvino-bf16", "wrong-bf16")]
    results = play(tmp_path, stage, *ALL, *half)
    assert [each.state for each in results.values()] == [MEASURED, MEASURED, WRONG, MEASURED, WRONG]
    assert results["openvino"].error == pytest.approx(0.01) and "onnxruntime by 1.0e-02" in results["openvino"].reason
    assert results["tilewright"].reference == "onnxruntime" and results["tilewright"].error == 0


def test_without_onnxruntime_another_peer_is_the_reference(tmp_path: Path) -> None:
    stage = Stage({"tilewright": Fake(output=(1.0, 3.0)), "onnxruntime": Fake(fails="broken")})
    results = play(tmp_path, stage, *ALL)
    assert results["openvino"].error == 0 and results["tilewright"].state == WRONG
    assert results["tilewright"].reference == "openvino"


def test_alone_nothing_is_checked(tmp_path: Path) -> None:
    results = play(tmp_path, Stage(), OWN)
    assert results["tilewright"].state == MEASURED and results["tilewright"].error is None


@pytest.mark.parametrize(
    ("actual", "expected"),
    [([1.0, 2.0], 0.0), ([1.0, 1.0], 0.5), ([np.nan, 2.0], np.inf), ([1.0], np.inf), ([[1.0, 2.0]], np.inf)],
)
def test_largest_error_is_relative_to_the_largest_reference(
    actual: list[float], expected: float, tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", np.array(actual))
    np.savez(tmp_path / "b.npz", np.array([1.0, 2.0]))
    error = rounds.largest_error(tmp_path / "a.npz", tmp_path / "b.npz", 1e-4)
    np.testing.assert_equal(error, expected)


def test_a_nan_in_any_output_shows(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", np.array([np.nan]), np.array([2.0]))
    np.savez(tmp_path / "b.npz", np.array([1.0]), np.array([1.0]))
    assert rounds.largest_error(tmp_path / "a.npz", tmp_path / "b.npz", 1e-4) == np.inf

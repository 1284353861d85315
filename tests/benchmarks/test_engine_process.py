"""Engines in processes of their own: ONNX Runtime, which tests have anyway, and each of the others where installed."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tilewright.benchmarks import engine_process, engine_worker
from tilewright.benchmarks.engine_process import EngineFailedError, EngineProcess
from tilewright.benchmarks.engines import ENGINES
from tilewright.benchmarks.engines.engine import FLOAT32, Engine, Job, Session
from tilewright.benchmarks.exporting import default_folder
from tilewright.benchmarks.measurement import MEASURED
from tilewright.benchmarks.models import MODELS, export
from tilewright.benchmarks.not_available import NotAvailableError
from tilewright.benchmarks.rounds import Schedule, measure

PROCESSORS = sorted(os.sched_getaffinity(0))[:1]


def start(model: Path, folder: Path, engine: str = "onnxruntime") -> EngineProcess:
    folder.mkdir()
    return EngineProcess(ENGINES[engine], model, model.with_suffix(".npz"), folder, PROCESSORS)


def test_an_engine_runs_when_it_is_asked(model: Path, tmp_path: Path) -> None:
    process = start(model, tmp_path / "ort")
    try:
        assert process.load_seconds > 0 and process.run_seconds > 0 and process.build_seconds == 0
        assert len(process.turn(0.0, 5)) == 5
        assert len(process.turn(0.05, 1)) > 5
        with np.load(process.outputs) as outputs:
            assert [outputs[name].shape for name in outputs.files] == [(2, 4)]
    finally:
        process.close()


def test_a_model_that_cannot_be_loaded_is_a_reason(model: Path, tmp_path: Path) -> None:
    model.write_bytes(b"not a model")
    with pytest.raises(EngineFailedError, match=r"\w+: .*product.onnx"):
        start(model, tmp_path / "ort")


def test_an_engine_that_is_killed_is_a_reason(model: Path, tmp_path: Path) -> None:
    process = start(model, tmp_path / "ort")
    process._worker._process.kill()
    with pytest.raises(EngineFailedError, match="SIGKILL"):
        process.turn(0.01, 1)
    process.close()


def test_a_busy_engine_is_ended_all_the_same(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_process, "_END_SECONDS", 0.1)
    process = start(model, tmp_path / "ort")
    monkeypatch.setattr(engine_process, "RUN_PATIENCE", -59.9)
    began = time.perf_counter()
    with pytest.raises(EngineFailedError, match="gave no answer"):
        process.turn(60.0, 1)
    process.close()
    assert time.perf_counter() - began < 20 and process._worker._process.returncode == -9


class Refusing:
    """An engine whose functions raise what they are given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, job: Job, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Session:
        raise self.error


@pytest.mark.parametrize(
    ("error", "answer", "code"),
    [
        (NotAvailableError("no source\nand more"), '{"unavailable": "no source"}', 0),
        (ValueError("bad\n\n - thing"), '{"failed": "ValueError: bad; thing"}', 1),
        (ValueError(), '{"failed": "ValueError: no message"}', 1),
    ],
)
def test_the_worker_answers_why_it_cannot(
    error: Exception, answer: str, code: int, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_worker, "ENGINES", {"fake": Engine("fake", ("numpy",), Refusing(error))})
    monkeypatch.setattr(os, "sched_setaffinity", lambda pid, processors: None)
    arguments = ["run", "fake", str(model), str(model.with_suffix(".npz")), "folder", "outputs.npz", "0"]
    answers = io.StringIO()
    assert engine_worker.serve(arguments, answers, io.StringIO()) == code
    assert answers.getvalue() == answer + "\n"


def test_the_table_is_whole() -> None:
    assert all(name == engine.name for name, engine in ENGINES.items())
    own: Sequence[str] = [engine.precision for engine in ENGINES.values() if engine.ours]
    assert sorted(own) == sorted({engine.precision for engine in ENGINES.values()})  # one of ours in each


def test_what_is_not_installed_says_how_to_install_it() -> None:
    engine = Engine("none", ("no-such-package", "numpy", "nor-this"), Refusing(ValueError()))
    assert engine.why_unavailable() == "not installed: pip install no-such-package nor-this"
    assert engine.version == "" and engine.precision == FLOAT32


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ENGINES if name != "onnxruntime"])
def test_engines_agree_with_onnxruntime(name: str, tmp_path: Path) -> None:
    engine = ENGINES[name]
    if engine.why_unavailable():
        pytest.skip(engine.why_unavailable())
    pytest.importorskip("torch")
    path = export(MODELS["squeezenet1_1"], default_folder())
    chosen = [ENGINES["onnxruntime"], engine]
    _, result = measure(path, chosen, PROCESSORS, Schedule(rounds=1, seconds=0.1), tmp_path)
    if name == "tilewright-bf16" and "bfloat16" in result.reason:
        pytest.skip(result.reason)
    assert (result.state, result.reason) == (MEASURED, "") and result.version

"""The command that measures what int8 costs of accuracy: scores, rows that are kept, the page, the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import model, node
from tilewright.benchmarks.accuracy import __main__ as accuracy
from tilewright.benchmarks.accuracy import sentence_pairs, text_lines
from tilewright.benchmarks.accuracy.quantizers import Quantizer
from tilewright.benchmarks.accuracy.task import Task, agreement, correlation
from tilewright.benchmarks.trained import SourceMissingError


def test_lines_and_sentences_are_of_their_lengths_and_the_same_each_time() -> None:
    lines = text_lines._lines(50)
    assert lines == text_lines._lines(50) and len(set(lines)) > 40
    assert all(1 <= len(line) <= 20 for line in lines)
    sentences = sentence_pairs._sentences()
    assert len(sentences) > 500 and all(6 <= len(each.split()) <= 24 for each in sentences)


def test_scores() -> None:
    floats = [{"y": np.eye(4)[number]} for number in range(4)]
    others = [*floats[:3], {"y": np.array([1.0, 0, 0, 0.5])}]
    assert agreement(others, floats) == 75 and agreement(floats, floats) == 100
    assert correlation([1, 2, 3], [10, 20, 40]) == pytest.approx(1) and correlation([3, 2, 1], [1, 2, 3]) < 0


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command line on a task of four samples, with quantizers that get some of them wrong."""
    path = tmp_path / "net.onnx"
    onnx.save(model([node("Relu", ["x"], "y", "relu")], {"x": ("float32", (1, 4))}, {"y": ("float32", (1, 4))}), path)
    samples = [{"x": np.eye(4, dtype="f4")[number : number + 1]} for number in range(4)]

    def missing(folder: Path) -> Task:
        raise SourceMissingError("weights are missing")

    def wrong(count: int) -> Quantizer:
        def run_one(sample: Any) -> Any:
            return {"y": np.ones((1, 4)) if sample["x"].argmax() < count else sample["x"]}

        return Quantizer(lambda task, folder: (run_one, f"{count} wrong"))

    def failing(task: Task, folder: Path) -> Any:
        raise KeyError("node")

    task = Task("small", path, samples[:2], samples, agreement, "top-1, %", 30)
    monkeypatch.setattr(accuracy, "TASKS", {"small": lambda folder: task, "absent": missing})
    quantizers = {"tilewright": wrong(2), "onnxruntime": wrong(3), "nncf": Quantizer(failing)}
    monkeypatch.setattr(accuracy, "QUANTIZERS", quantizers)
    monkeypatch.setattr(accuracy.metadata, "version", lambda name: "1")
    return lambda *arguments: accuracy.main([*arguments, "--out", str(tmp_path / "out.json")])


def test_the_command(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Class 0 is right by chance where all are the same.
    assert run("--quantizers", "tilewright", "onnxruntime", "nncf") == 0
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert [(row["quantizer"], row["score"]) for row in rows] == [("tilewright", 75), ("onnxruntime", 50)]
    said = capsys.readouterr().err
    assert "nncf: failed: KeyError" in said and "absent: skipped: weights are missing" in said
    page = (tmp_path / "out.md").read_text()
    assert "| small | top-1, % | 2 + 4 | 100 | 75 (25) | 50 (50) | 30 |" in page and "benchmarks.accuracy" in page


def test_a_row_takes_the_place_of_its_own_alone(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("--quantizers", "tilewright", "onnxruntime")
    monkeypatch.setitem(accuracy.QUANTIZERS, "tilewright", accuracy.QUANTIZERS["onnxruntime"])
    assert run("small", "--quantizers", "tilewright") == 1  # more is lost than the goal allows
    rows = {row["quantizer"]: row["score"] for row in json.loads((tmp_path / "out.json").read_text())["rows"]}
    assert rows == {"tilewright": 50, "onnxruntime": 50}

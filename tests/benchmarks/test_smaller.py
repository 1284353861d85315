"""What smaller networks are worth: characters that are read, the halved network, what a front wins."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import model, node
from tilewright.benchmarks.accuracy.characters import edits_between, read, right
from tilewright.benchmarks.accuracy.task import Task, agreement
from tilewright.benchmarks.smaller import front, half, search


def test_text_is_read_off_the_likeliest_path() -> None:
    scores = np.eye(4, dtype="f4")[[0, 1, 1, 0, 1, 3, 2, 2, 0]]
    assert read(scores) == [1, 1, 3, 2]
    assert edits_between("kitten", "sitting") == 3
    assert right({"y": scores[None]}, np.array([[1, 1, 3, 2, 0]])) == 100
    assert right({"y": scores[None]}, np.array([[1, 2, 0, 0, 0]])) == 0, "two edits of two characters"


def point(quality: float, share: float, base: str = "whole", origin: str = "exact solve", **layers: str) -> Any:
    numbers = {"quality": quality, "error": 0.1, "seconds": share, "bytes": 10, "size_share": share}
    return {**numbers, "latency_share": share, "base": base, "layers": layers, "origin": origin}


def test_a_front_is_set_against_what_is_the_same_for_all_layers(tmp_path: Path) -> None:
    same = "the same for all layers"
    points = [
        point(99, 1.0),
        point(98.7, 0.5, a="int8", b="rank within 5%"),
        point(97.5, 0.6, origin=same, a="int8", b="int8"),
        point(98.6, 0.9, origin=same, a="rank within 2%"),
        point(95.0, 0.4, base="work 50%"),
        point(98.8, 0.3, a="int8"),  # of one layer alone: no uniform one
    ]
    found = {"model": "net", "metric": "score", "seconds": 60.0, "rows": 4, "float": points[0], "points": points}
    found["front"] = [points[5]]
    (tmp_path / "found.json").write_text(json.dumps(found))

    assert front.rows(found, [0.5, 2.0, 5.0]) == [
        ["0.5", "0.30, 0.30", "none", "none", "0.90, 0.90"],
        ["2", "0.30, 0.30", "0.60, 0.60", "none", "0.90, 0.90"],
        ["5", "0.30, 0.30", "0.60, 0.60", "0.40, 0.40", "0.90, 0.90"],
    ]
    made = tmp_path / "page.md"
    assert front.main([str(tmp_path / "found.json"), "--out", str(made), "--command", "tilewright optimize"]) == 0
    assert "1 int8" in made.read_text() and "    tilewright optimize" in made.read_text()
    assert made.with_suffix(".svg").read_text().startswith("<svg")


def test_a_search_is_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the files to the page; what failed says so by its code, and leaves no page."""
    printed = {"model": "net", "metric": "right", "seconds": 60.0, "rows": 4, "points": [], "front": []}
    answers = [(1, b""), (0, json.dumps({**printed, "float": point(99, 1.0)}).encode())]
    asked: list[list[str]] = []

    def recognised(arguments: list[str]) -> int:
        (Path(arguments[0]) / "labels.npy").touch()
        return 0

    def ran(words: list[str], stdout: Any, check: bool) -> Any:
        code, text = answers[len(asked)]
        asked.append(words)
        stdout.write(text)
        stdout.flush()
        return subprocess.CompletedProcess(words, code)

    monkeypatch.setattr(search.recognition, "main", recognised)
    monkeypatch.setattr(search.subprocess, "run", ran)
    given = [str(tmp_path), "--seconds", "60", "--jobs", "2"]
    assert search.main(given) == 1 and not (tmp_path / "front.md").exists()
    assert search.main(given) == 0

    assert "--labels" in asked[0] and asked[0][asked[0].index("--seconds") + 1] == "60" and asked[0] == asked[1]
    assert f"python -m benchmarks.smaller.search {tmp_path} --seconds 60" in (tmp_path / "front.md").read_text()


def test_half_of_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product through 64 channels of which 8 matter: nothing is lost by half of the work, once layers are fitted."""
    chance = np.random.default_rng(0)
    inner = chance.standard_normal((8, 64)).astype("f4")
    weights = {"w0": chance.standard_normal((16, 8)).astype("f4") @ inner, "w1": chance.standard_normal((64, 4))}
    made = model(
        [
            node("MatMul", ["x", "w0"], "a", "wide"),
            node("Relu", ["a"], "b", "relu"),
            node("MatMul", ["b", "w1"], "y", "head"),
        ],
        {"x": ("float32", (8, 16))},
        {"y": ("float32", (8, 4))},
        {name: each.astype("f4") for name, each in weights.items()},
    )
    onnx.save(made, tmp_path / "net.onnx")
    samples = [{"x": chance.standard_normal((8, 16)).astype("f4")} for _ in range(80)]

    def task(folder: Path) -> Task:
        return Task("toy", tmp_path / "net.onnx", samples[:60], samples[60:], agreement, "as float", 1.0)

    monkeypatch.setattr(half, "TASKS", {"toy": task})
    monkeypatch.setattr(half, "_SECONDS", 0.001)
    out = tmp_path / "half.json"
    assert half.main(["toy", "--out", str(out)]) == 0

    (row,) = json.loads(out.read_text())["rows"]
    assert row["work"] <= 0.55 and row["floats"] == 100
    assert row["scores"]["recovered"] >= row["scores"]["no recovery"]
    assert "| toy | as float | 100 |" in out.with_suffix(".md").read_text()

"""`quantize`, `compile --quantize` and `verify --recipe` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import fails
from small_models import swish_network
from tilewright.compiler.cli.main import run


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """A model of three products and samples for it."""
    onnx.save(swish_network(), tmp_path / "net.onnx")
    np.save(tmp_path / "data.npy", np.random.default_rng(0).standard_normal((12, 4, 16)).astype("f4"))
    names = {"net": "net.onnx", "data": "data.npy", "recipe": "r.json", "q": "q.onnx", "page": "p.html", "so": "net.so"}
    return {key: str(tmp_path / name) for key, name in names.items()}


def edited(path: str, tensor: str, factor: float) -> None:
    data: dict[str, Any] = json.loads(Path(path).read_text())
    data["tensors"][tensor]["scale"] *= factor
    Path(path).write_text(json.dumps(data))


def test_from_data_to_a_library_that_is_verified(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--export-onnx", files["q"], "--report", files["page"], "--threads", "1", "--json"]
    assert run(["quantize", files["net"], "--calibration", files["data"], "-o", files["recipe"], *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["layers"]] == ["first product", "second product", "third product"]
    assert Path(files["page"]).read_text().startswith("<!DOCTYPE html>")
    onnx.checker.check_model(onnx.load(files["q"]))
    assert not list(Path(files["recipe"]).parent.glob("*.calibration.npz"))

    always = ["--pass", "place_pairs{always=True}", "--threads", "1"]
    verify = ["verify", files["so"], files["net"], "--recipe", files["recipe"], "--data", files["data"]]
    assert run(["compile", files["net"], "-o", files["so"], "--quantize", files["recipe"], *always]) == 0
    assert run(verify) == 0
    assert "computes what its recipe says" in capsys.readouterr().out

    edited(files["recipe"], "d", 30)
    assert run(["compile", files["net"], "-o", files["so"], "--recipe", files["recipe"], *always]) == 0
    assert run([*verify, "--bisect"]) == 1
    assert "DIFFERS from the float model" in capsys.readouterr().out


def test_what_is_refused(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    compiling: list[str | Path] = ["compile", files["net"], "-o", files["so"]]
    fails(capsys, [*compiling, "--quantize", "int8"], 2, "tilewright quantize MODEL --calibration DATA")
    fails(capsys, [*compiling, "--quantize", files["recipe"]], 4, "no such recipe")
    fails(capsys, [*compiling, "--quantize", "a.json", "--recipe", "b.json"], 2, "two recipes")
    quantizing: list[str | Path] = ["quantize", files["net"], "-o", files["recipe"], "--calibration"]
    fails(capsys, [*quantizing, "none.npz"], 4, "does not exist")
    Path(files["recipe"]).write_text("{}")  # of an earlier run
    fails(capsys, ["quantize", "none.onnx", "-o", files["recipe"], "--calibration", files["data"]], 4, "does not exist")
    fails(capsys, [*quantizing, files["data"], "--granularity", "row"], 2, "channel, tensor")
    fails(capsys, [*quantizing, files["data"], "--least-db", "nan"], 2, "no number of decibels")
    fails(
        capsys, ["verify", files["so"], files["net"], "--recipe", files["recipe"], "--least-db", "nan"], 2, "decibels"
    )
    fails(capsys, [*quantizing, files["data"], "--image", "size=3"], 2, "no step of a preprocessing")
    fails(capsys, ["verify", files["net"], files["net"], "--data", files["data"]], 2, "--recipe")

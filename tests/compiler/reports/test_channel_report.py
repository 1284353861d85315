"""`inspect --channels`: for what sizes, of which layers, and of what there are no channels to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from command_line import fails
from small_models import model, node
from tilewright.compiler.cli.main import run

WEIGHTS = {"w0": np.ones((8, 2, 3, 3), np.float32), "w1": np.ones((3, 8, 1, 1), np.float32)}
LAYERS = [node("Conv", ["x", "w0"], "a", "first", pads=[1, 1, 1, 1]), node("Conv", ["a", "w1"], "y", "second")]


def channels_of(capsys: pytest.CaptureFixture[str], path: Path, *arguments: str) -> Any:
    assert run(["inspect", str(path), *arguments, "--channels", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("shape", [(), ("--shape", "x=Nx2xHx4")])
def test_channels_are_shown_for_ranges_of_sizes(
    shape: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    border = {"x": ("float32", ("N", 2, "H", 4))}, {"y": ("float32", ("N", 3, "H", 4))}
    onnx.save(model(LAYERS, *border, WEIGHTS), path := tmp_path / "open.onnx")

    ranges = channels_of(capsys, path, *shape, "--range", "N=1..2", "--range", "H=4..8")

    assert ranges == channels_of(capsys, path, "--shape", "x=2x2x8x4")
    assert [group["free"] for group in ranges["groups"]] == [8, 0]


def test_channels_that_recipes_cannot_name_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shape = ("float32", (1, 2, 8, 4))
    made = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    branches = {key: onnx.helper.make_graph(LAYERS, key, [], [made]) for key in ("then_branch", "else_branch")}
    taken = node("If", ["yes"], "y", "if", **branches)
    result = node("Relu", ["y"], "z", "relu")
    constants = {**WEIGHTS, "yes": np.array(True)}
    proto = model([taken, result], {"x": shape}, {"z": ("float32", (1, 3, 8, 4))}, constants)
    onnx.save(proto, path := tmp_path / "branch.onnx")

    group = channels_of(capsys, path)["groups"][0]

    assert list(group["layers"]) == ["first"] and group["units"] == 8
    assert group["free"] == 0 and group["reasons"] == {"no name of a node of the model reaches them": 8}
    recipe = str(tmp_path / "recipe.json")
    fails(capsys, ["prune", path, "--channels", "0.5", "--criterion", "magnitude", "--no-recovery", "-o", recipe], 2)


@pytest.mark.parametrize("wish", [["--channels"], ["--memory", "memory.svg"]])
def test_libraries_have_no_channels_and_no_plan_to_show(
    wish: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.so").write_bytes(b"\x7fELF")
    fails(capsys, ["inspect", tmp_path / "net.so", *wish], 2, f"{wish[0]} is for models")

"""From a model and samples to a front and a recipe, on the command line; again, killed, and with a worker that dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from command_line import DIGITS, MAIN, fails
from small_models import model, node
from tilewright.compiler.cli.main import run
from tilewright.compiler.optimization.attempt import Study
from tilewright.compiler.optimization.crew import local_crew
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.files import read_recipe
from tilewright.compiler.recipes.recipe import RankEntry, Recipe
from tilewright.errors import UsageError

CHANCE = np.random.default_rng(11)


def thin(rows: int, columns: int, rank: int) -> Any:
    """A matrix of a rank, all of whose directions count alike, and a little noise."""
    left, right = (np.linalg.qr(CHANCE.standard_normal((size, rank)))[0] for size in (rows, columns))
    return (left @ right.T + 1e-4 * CHANCE.standard_normal((rows, columns))).astype(np.float32)


def network() -> onnx.ModelProto:
    """Two layers, of which the first has a low rank."""
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "wide"),
            node("Relu", ["a"], "b", "relu"),
            node("MatMul", ["b", "w1"], "y", "head"),
        ],
        {"x": ("float32", (64, 256))},
        {"y": ("float32", (64, 10))},
        {"w0": thin(256, 512, 8), "w1": thin(512, 10, 10)},
    )


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    onnx.save(network(), tmp_path / "net.onnx")
    np.save(tmp_path / "data.npy", np.random.default_rng(0).standard_normal((8, 64, 256)).astype("f4"))
    return {name: str(tmp_path / name) for name in ("net.onnx", "data.npy", "small.json", "page.html", "score.py")}


def test_a_layer_of_low_rank_is_found_and_evaluated(
    files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = files["small.json"]
    searching = ["optimize", files["net.onnx"], "--calibration", files["data.npy"], "--try", "rank", "-o", recipe]
    searching += ["--budget", "accuracy=-1", "--metric", "cosine", "--threads", "1", "--json"]
    assert run([*searching, "--report", files["page.html"]]) == 0
    found = json.loads(capsys.readouterr().out)

    best = found["front"][found["best"] - 1]
    assert found["within_budget"] and "wide" in best["layers"] and best["size_share"] < 0.7
    assert best["quality"] > 99 and 0 < best["error"] < 0.15
    assert list(read_recipe(recipe).entries(RankEntry)) == list(best["layers"])
    page = Path(files["page.html"]).read_text()
    assert page.startswith("<!DOCTYPE html>") and page.count("<svg") == 4 and "rank within" in page

    again = tilewright.optimize(
        files["net.onnx"],
        np.load(files["data.npy"]),
        budget=["accuracy=-1"],
        output=recipe,
        metric="cosine",
        kinds=["rank"],
        options=CompileOptions(threads=1),
    )
    assert [point.seconds for point in again.points] == [each["seconds"] for each in found["points"]], "nothing anew"
    assert again.recipe().layers == read_recipe(recipe).layers and not again.excess
    assert set(again.recipe(again.exact).layers) == set()

    other = str(tmp_path / "other.json")
    at = ["optimize", files["net.onnx"], "--search", str(tmp_path / "small.search"), "-o", other]
    assert run([*at, "--point", str(found["best"])]) == 0
    assert read_recipe(other).layers == read_recipe(recipe).layers
    fails(capsys, [*at, "--point", "99"], 2, "--point 99")
    fails(capsys, [*searching, "--metric", "snr"], 4, "another model, data or way")
    fails(capsys, at, 2, "--calibration")

    exact, small = str(tmp_path / "exact.so"), str(tmp_path / "small.so")
    tilewright.compile(files["net.onnx"], output=exact, threads=1)
    tilewright.compile(files["net.onnx"], output=small, threads=1, recipe=recipe)
    evaluating = ["evaluate", exact, small, "--data", files["data.npy"]]
    assert run([*evaluating, "--metric", "cosine", "--report", files["page.html"], "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["libraries"]
    assert first["quality"] == pytest.approx(100) and first["error"] == 0
    assert best["quality"] - 0.1 < second["quality"] < 100 and second["bytes"] < first["bytes"]
    assert Path(files["page.html"]).read_text().count("<svg") == 2
    np.save(tmp_path / "few.npy", np.zeros(3))
    fails(capsys, [*evaluating, "--labels", tmp_path / "few.npy"], 4, "8 samples and 3 labels")


def test_a_search_ends_in_time_whatever_it_is_at(files: dict[str, str]) -> None:
    start = time.monotonic()
    for seconds, what in ((-1.0, "no limit"), (0.3, "before the float model")):
        with pytest.raises(UsageError, match=what):
            tilewright.optimize(files["net.onnx"], files["data.npy"], budget="size=0.7x", seconds=seconds)
    assert time.monotonic() - start < 5


class Poison(Recipe):
    """Ends the process that unpickles it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def test_a_process_that_dies_is_replaced() -> None:
    study = Study("key", b"no model", CompileOptions(), ({"x": np.zeros(1, np.float32)},), 0.1)
    with local_crew(study, 1) as crew:
        outcomes = dict(crew.outcomes([Poison(), None]))

    assert outcomes[0].failed == "its process died"
    assert outcomes[1].failed and "died" not in outcomes[1].failed


@pytest.mark.slow
def test_a_search_that_was_killed_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed as soon as two networks were measured; what was known by then is still there, and the rest is added."""
    with np.load(DIGITS.parent / "digits_test.npz") as held:
        np.savez(tmp_path / "data.npz", image=held["images"])
        np.save(tmp_path / "labels.npy", held["labels"])
    recipe, lines = tmp_path / "small.json", tmp_path / "small.search" / "database.jsonl"
    words = ["optimize", str(DIGITS), "--calibration", str(tmp_path / "data.npz"), "-o", str(recipe), "--threads", "1"]
    words += ["--labels", str(tmp_path / "labels.npy"), "--budget", "accuracy=-0.6", "--try", "int8", "--json"]
    process = subprocess.Popen([sys.executable, "-c", MAIN, *words], stdout=subprocess.DEVNULL, start_new_session=True)
    while not (lines.is_file() and lines.read_text().count('"measured"') > 1) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = lines.read_text()
    assert read_recipe(recipe) is not None, "the best so far"

    assert run(words) == 0

    found = json.loads(capsys.readouterr().out)
    assert lines.read_text().startswith(before.rpartition("\n")[0])
    best = found["front"][found["best"] - 1]
    assert best["latency_share"] < 0.75 and best["size_share"] < 0.7
    assert best["quality"] > found["float"]["quality"] - 0.6
    assert len({json.dumps(each["layers"]) + each["base"] for each in found["points"]}) == len(found["points"])


@pytest.mark.slow
def test_another_machine_is_searched_for(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """On an emulated processor; kernels are timed there, and networks run there."""
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("there is no qemu-aarch64: install qemu-user")
    searching = ["optimize", files["net.onnx"], "--calibration", files["data.npy"], "--try", "rank,int8"]
    searching += ["--budget", "size=0.7x", "--metric", "cosine", "--threads", "1", "-o", files["small.json"], "--json"]
    there = ["--target", "aarch64-linux-gnu", "--mcpu", "cortex-a76"]
    fails(capsys, [*searching, *there], 2, "do not run on this machine", "--device")

    assert run([*searching, *there, "--device", "qemu"]) == 0

    found = json.loads(capsys.readouterr().out)
    best = found["front"][found["best"] - 1]
    assert "wide" in best["layers"] and best["size_share"] < 0.7 and best["quality"] > 95
    assert len(found["points"]) > 1 and not found["failed"]

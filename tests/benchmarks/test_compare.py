"""The command: what it measures again and what it does not, its exit codes, and that Ctrl-C keeps what there is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_engines import Fake, Stage, fake_engine, table
from tilewright.benchmarks import compare, rounds
from tilewright.benchmarks.engines.engine import Engine
from tilewright.benchmarks.measurement import Measurement

Run = Callable[..., int]


@pytest.fixture
def stage() -> Stage:
    """What happened on it: `played` is empty if nothing was measured."""
    return Stage()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.json"


@pytest.fixture
def run(stage: Stage, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command line with fake engines, on the model `product` unless others are named."""
    engines = table(fake_engine("tilewright", ours=True), fake_engine("onnxruntime"), fake_engine("openvino"))
    real = rounds.measure

    def measure(
        path: Path, chosen: Sequence[Engine], processors: Sequence[int], schedule: Any, folder: Path, announce: Any
    ) -> list[Measurement]:
        return real(path, chosen, processors, schedule, folder, announce, start=stage.start)

    monkeypatch.setattr(rounds, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr(compare, "ENGINES", engines)
    monkeypatch.setattr(compare, "measure", measure)
    # A picture takes longer than all else here, and has its own tests.
    monkeypatch.setattr(compare, "draw", lambda path, *rest: path.write_text("<svg/>") > 0)

    def call(*arguments: str) -> int:
        stage.played.clear()
        names = [] if any(each.endswith(".onnx") for each in arguments) else [str(model)]
        return compare.main([*names, "--rounds", "2", "--seconds", "0.01", "--out", str(out), *arguments])

    return call


def states(out: Path) -> dict[str, str]:
    return {each["engine"]: each["state"] for each in json.loads(out.read_text())["measurements"]}


def test_one_command_writes_results_page_and_picture(run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    record = json.loads(out.read_text())
    assert states(out) == {"tilewright": "measured", "onnxruntime": "measured", "openvino": "measured"}
    assert record["summary"]["comparisons"][0]["ratio"] == pytest.approx(1.0)
    assert "benchmarks.compare" in record["run"]["command"] and record["measurements"][0]["model_digest"]
    page = out.with_suffix(".md").read_text()
    assert "| product | 1 |" in page and "(results.svg)" in page and out.with_suffix(".svg").exists()
    assert "geometric mean of 1" in capsys.readouterr().out


def test_what_was_measured_is_not_measured_again(run: Run, stage: Stage, out: Path) -> None:
    run()
    before = out.read_text()
    out.with_suffix(".md").unlink()
    assert run() == 0 and not stage.played
    assert out.read_text() == before and out.with_suffix(".md").exists()
    assert run("--fresh") == 0 and stage.played


def test_a_changed_model_is_measured_again(run: Run, stage: Stage, model: Path) -> None:
    run()
    model.write_bytes(model.read_bytes() + b"\0")
    run()
    assert stage.played


def test_an_engine_that_is_added_is_measured_in_turns_with_the_others(run: Run, stage: Stage, out: Path) -> None:
    run("--engines", "tilewright", "onnxruntime")
    assert set(stage.played) == {"tilewright", "onnxruntime"}
    run("--engines", "openvino")
    assert set(stage.played) == {"tilewright", "onnxruntime", "openvino"}


def test_a_failure_is_recorded_and_tried_again_only_when_asked(run: Run, stage: Stage, out: Path) -> None:
    stage.fakes = {"openvino": Fake(fails="crashed")}
    assert run() == 0 and states(out)["openvino"] == "failed"
    stage.fakes = {}
    assert run() == 0 and not stage.played
    assert run("--retry") == 0 and states(out)["openvino"] == "measured"
    assert run("--retry") == 0 and not stage.played


def test_an_engine_is_measured_once_it_is_installed(
    run: Run, stage: Stage, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = {**compare.ENGINES, "openvino": fake_engine("openvino", unavailable="not installed")}
    present = compare.ENGINES
    monkeypatch.setattr(compare, "ENGINES", absent)
    assert run() == 0 and states(out)["openvino"] == "not available"
    assert run() == 0 and not stage.played
    monkeypatch.setattr(compare, "ENGINES", present)
    assert run() == 0 and states(out)["openvino"] == "measured"


@pytest.mark.parametrize(
    ("fakes", "arguments", "code"),
    [
        ({"tilewright": Fake(fails="crashed")}, [], 1),
        ({"tilewright": Fake(output=(3.0, 1.0))}, [], 1),
        ({"tilewright": Fake(refuses="an operator")}, [], 1),
        ({"openvino": Fake(output=(3.0, 1.0))}, [], 0),
        ({"openvino": Fake(output=(3.0, 1.0))}, ["--engines", "tilewright", "openvino", "onnxruntime"], 1),
    ],
)
def test_exit_codes(run: Run, stage: Stage, fakes: dict[str, Fake], arguments: list[str], code: int) -> None:
    stage.fakes = fakes
    assert run(*arguments) == code


def test_ctrl_c_keeps_what_was_measured(
    run: Run, stage: Stage, out: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    second = model.with_name("second.onnx")
    shutil.copy(model, second)
    shutil.copy(model.with_suffix(".npz"), second.with_suffix(".npz"))
    patched = compare.measure

    def interrupted(path: Path, *rest: Any) -> list[Measurement]:
        if path.stem == "second":
            raise KeyboardInterrupt
        return patched(path, *rest)

    monkeypatch.setattr(compare, "measure", interrupted)
    assert run(str(model), str(second)) == 130
    assert {each["model"] for each in json.loads(out.read_text())["measurements"]} == {"product"}
    assert "| product | 1 |" in out.with_suffix(".md").read_text()
    captured = capsys.readouterr()
    assert "interrupted" in captured.err and "product" in captured.out
    monkeypatch.setattr(compare, "measure", patched)
    assert run(str(model), str(second)) == 0
    assert {each["model"] for each in json.loads(out.read_text())["measurements"]} == {"product", "second"}


def test_results_of_another_machine_are_left_alone(run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    text = out.read_text().replace('"cores": ', '"cores": 1')
    out.write_text(text)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2 and "another machine" in capsys.readouterr().err
    assert out.read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threads", "100000"], "--threads must lie between"),
        (["--rounds", "0"], "positive"),
        (["--out", "results.txt"], "must end in .json"),
        (["--out", "/dev/null/results.json"], "--out cannot be written"),
        (["--engines", "nonesuch"], "invalid choice"),
        (["/nowhere/model.onnx"], "/nowhere/model.onnx does not exist"),
        (["nonesuch", "--models", "/nowhere"], "/nowhere/nonesuch.onnx does not exist"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        compare.main(["--out", str(tmp_path / "results.json"), *arguments])
    assert ended.value.code == 2 and message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_beforehand(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "ROOM", 10**15)
    with pytest.raises(SystemExit) as ended:
        run()
    assert ended.value.code == 2


def test_engines_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(compare.ENGINES)
    assert all(len(line.split()) > 1 for line in lines)

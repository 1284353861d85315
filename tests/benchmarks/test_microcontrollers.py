"""The page of models on emulated boards: what it says, and that a run goes on where another stopped."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tilewright.benchmarks.microcontrollers.__main__ import main
from tilewright.benchmarks.microcontrollers.engines import CMSIS_NN, EMX, OURS
from tilewright.benchmarks.microcontrollers.page import page
from tilewright.benchmarks.microcontrollers.row import Results, Row, read_results
from tilewright.benchmarks.microcontrollers.tflm import Arena
from tilewright.compiler.runners.microcontroller import missing_tools

KIB = 1024
FLOAT = Row("kws", "float32", "cortex-m4", OURS, "a", 90 * KIB, 60 * KIB, KIB, 3_000, 1e-8)
INTEGER = Row("ad-int8", "int8", "cortex-m0plus", OURS, "a", 270 * KIB, KIB, KIB, 700, 0)


def test_the_page() -> None:
    results = Results(arenas={"ad-int8": Arena(800, 4 * KIB)})
    for row in (
        FLOAT,
        replace(FLOAT, engine=EMX, instructions=10_000, ram_bytes=0, stack_bytes=122 * KIB),
        replace(FLOAT, model="ad", instructions=9_000),
        INTEGER,
        replace(INTEGER, engine=CMSIS_NN, instructions=1_000),
    ):
        results.add(row)

    text = page(results, ["GCC 12"], "the command")

    assert "| kws | cortex-m4 | 90.0 | 60.0 | 1.0 | 3,000 | 90.0 | 0.0 | 122.0 | 10,000 | 0.30 | 1e-08 |" in text
    assert "| ad | cortex-m4 | 90.0 | 60.0 | 1.0 | 9,000 |  |  |  |  |  | 1e-08 |" in text
    assert f"At most 0.30 of {EMX}'s instructions (kws, cortex-m4), and 0.50 of its RAM" in text
    assert f"At most 0.70 of {CMSIS_NN}'s instructions (ad-int8, cortex-m0plus)." in text
    assert "| ad-int8 | 0.8 | 4.0 | 1.0 |" in text
    assert "GCC 12" in text and "the command" in text
    assert "## int8" not in page(Results({("kws", "cortex-m4", OURS): FLOAT}), [], "")


def test_rows_are_kept(tmp_path: Path) -> None:
    results = Results(arenas={"ad-int8": Arena(800, 4 * KIB)})
    results.add(FLOAT)
    results.add(replace(FLOAT, made_of="b"))
    results.write(tmp_path / "rows.json")

    found = read_results(tmp_path / "rows.json")

    assert found == results and len(found.rows) == 1
    assert found.has("kws", "cortex-m4", OURS, "b") and not found.has("kws", "cortex-m4", OURS, "a")
    assert not found.has("kws", "cortex-m7", OURS, "b")
    assert read_results(tmp_path / "none.json") == Results()


@pytest.mark.skipif(bool(missing_tools()), reason=f"not installed: {', '.join(missing_tools())}")
def test_a_run_goes_on(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "rows.json"
    arguments = [str(model), "--cpu", "cortex-m4", "--out", str(out)]

    assert main(arguments) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert 64 < row["instructions"] < 1_000 and row["error"] < 1e-6 and row["flash_bytes"] > 4 * 32
    assert "| product | cortex-m4 |" in out.with_suffix(".md").read_text()
    capsys.readouterr()

    assert main([*arguments[:3], "cortex-m7", *arguments[2:]]) == 0
    said = capsys.readouterr().err
    assert "cortex-m4, Tilewright: measured before" in said and "cortex-m7, Tilewright:" in said
    assert [each["cpu"] for each in json.loads(out.read_text())["rows"]] == ["cortex-m4", "cortex-m7"]


@pytest.mark.parametrize("arguments", [["--out", "page.md"], ["no-such-model.onnx"], ["--arena", "much"]])
def test_wrong_usage(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2

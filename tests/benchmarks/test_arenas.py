"""The page of arenas beside the least that they could be."""

from __future__ import annotations

from pathlib import Path

import pytest
from tilewright.benchmarks import arenas
from tilewright.benchmarks.arenas import Row, main, page


def test_the_page() -> None:
    text = page([Row("one", "cpu", 1_040, 1_000), Row("none", "cpu", 0, 0)], "the command")

    assert "| one | cpu | 1,040 | 1,000 | 1.040 |" in text and "| none | cpu | 0 | 0 | 1.000 |" in text
    assert "The largest ratio is 1.040 (one, cpu)." in text and "the command" in text


def test_a_model(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "arenas.md"
    assert main([str(model), "--out", str(out)]) == 0
    assert "| product | " in out.read_text()
    monkeypatch.setattr(arenas, "measured", lambda name, path, options: Row(name, "cpu", 1_060, 1_000))
    assert main([str(model), "--out", str(out)]) == 1

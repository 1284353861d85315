"""Random graphs, damaged models, damaged libraries: some of each always, all of them among the slow tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _passes(program: str, *options: str) -> None:
    path = Path(__file__).with_name(program)
    result = subprocess.run([sys.executable, path, *options], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]


@pytest.mark.parametrize(
    ("program", "count"), [("random_graphs.py", 100), ("damaged_models.py", 40), ("damaged_libraries.py", 60)]
)
def test_a_few(program: str, count: int, tmp_path: Path) -> None:
    _passes(program, "--count", str(count), "--save", str(tmp_path))


@pytest.mark.slow
@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("program", ["random_graphs.py", "damaged_models.py", "damaged_libraries.py"])
def test_all(program: str, tmp_path: Path) -> None:
    _passes(program, "--save", str(tmp_path))

"""Random graphs, damaged models, damaged libraries: some of each always, all of them among the slow tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from damaged_models import judged
from generate import generate
from reference import Session


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


_GROWS = """
import sys
sys.path.insert(0, {folder!r})
import children
children.serve(lambda megabytes: (bytearray(megabytes << 20), ("fine", ""))[1], [1, 300, 2], 10.0, 200 << 20)
"""


def test_a_trial_that_takes_much_memory_is_found() -> None:
    program = _GROWS.format(folder=str(Path(__file__).parent))
    lines = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert [json.loads(line)[:2] for line in lines.splitlines()] == [[1, "fine"], [300, "large"], [2, "fine"]]


def test_what_damaged_models_compute_is_compared() -> None:
    sample = generate(3)
    names = [value.name for value in sample.model.graph.output]
    results = dict(zip(names, Session(sample.model).run(sample.inputs), strict=True))
    assert judged(sample, results)[0] == "right"
    assert judged(sample, {name: np.zeros_like(array) - 1 for name, array in results.items()})[0] == "wrong"

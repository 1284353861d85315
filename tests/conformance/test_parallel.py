"""What crashes or hangs is told as such, and the tests after it still run."""

from __future__ import annotations

from pathlib import Path

import parallel
import pytest
from outcomes import CRASHES, HANGS, PASSES

_WORKER = """
import json, os, sys, time
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "crash":
        os._exit(9)
    if line.strip() == "hang":
        time.sleep(60)
    print(json.dumps({"kind": "passes", "reason": " ".join(sys.argv[1:]), "bound": []}), flush=True)
"""


def test_a_crash_and_a_hang_take_down_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(_WORKER)
    monkeypatch.setattr(parallel, "_WORKER", worker)
    told: list[str] = []

    outcomes = parallel.run_all(
        ["a", "crash", "b", "hang", "c"], processes=1, seconds=1, tell=lambda key, outcome: told.append(key)
    )

    assert [outcome.kind for outcome in outcomes.values()] == [PASSES, CRASHES, PASSES, HANGS, PASSES]
    assert sorted(told) == ["a", "b", "c", "crash", "hang"]


def test_processes_hear_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(_WORKER)
    monkeypatch.setattr(parallel, "_WORKER", worker)

    outcomes = parallel.run_all(
        ["a"], processes=1, seconds=10, tell=lambda key, outcome: None, arguments=("some-target", "so")
    )

    assert outcomes["a"].reason == "some-target so"

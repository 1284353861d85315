"""What a long compile tells: stages add up, short ones are silent, and a terminal sees a line that moves."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
from tilewright.compiler.process import progress
from tilewright.compiler.process.progress import Timeline, shown
from tilewright.compiler.reports.report import Table, amount, duration, size


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time; tests set it."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


def test_stages_that_come_again_are_continued(clock: list[float]) -> None:
    timeline = Timeline()
    for seconds, stage in ((0, "import"), (1, "schedule"), (5, "import"), (6, "schedule")):
        clock[0] = seconds
        timeline.announce(stage)
    clock[0] = 8
    timeline.finish()

    assert {name: stage.seconds for name, stage in timeline.stages.items()} == {"import": 2, "schedule": 6}
    assert timeline.total_seconds == 8


def test_without_a_terminal_long_stages_get_a_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with shown("compiling", Timeline()) as tell:
        tell("import", 0, 0)
        clock[0] = 1
        tell("schedule", 1, 40)
        clock[0] = 9
        tell("schedule", 40, 40)
        clock[0] = 9.5
        tell("code", 0, 0)
        clock[0] = 30
        tell("code", 8, 16)
    captured = capsys.readouterr()

    assert captured.out == ""
    # A stage that goes on and on reports in between, too.
    code = "  code (8 of 16)  20.5 s"
    assert captured.err.splitlines() == ["  schedule (40 of 40)  8.5 s", code, code]
    assert "\x1b" not in captured.err


def test_on_a_terminal_a_line_moves() -> None:
    code = (
        "import time\n"
        "from tilewright.compiler.process.progress import Timeline, shown\n"
        "with shown('compiling net.onnx', Timeline()) as tell:\n"
        "    for done in range(4):\n"
        "        tell('schedule', done, 4); time.sleep(0.15)\n"
    )
    parent, child = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", code], stderr=child, check=True, timeout=60, env={**os.environ, "TERM": "xterm"}
    )
    os.close(child)
    text = os.read(parent, 1 << 16).decode()
    os.close(parent)

    assert "compiling net.onnx: schedule" in text and "of 4" in text and "\x1b" in text


def test_tables_and_numbers() -> None:
    table = Table(("name", ">count"), "things")
    table.add("a", 12)
    table.add("x" * 100, 3)
    lines = table.plain().splitlines()

    assert lines[0] == "things" and lines[1].split() == ["name", "count"]
    assert len({len(line) for line in lines[1:]}) == 1 and "..." in lines[3]
    with pytest.raises(ValueError, match="1 cells for 2"):
        table.add("alone")
    assert [size(n) for n in (0, 999, 1000, 97_800_000, 3e12)] == ["0 B", "999 B", "1.0 kB", "97.8 MB", "3.0 TB"]
    assert [amount(n, "FLOP") for n in (0, 5, 8.2e9)] == ["-", "5 FLOP", "8.20 GFLOP"]
    assert [duration(n) for n in (2.5, 1.25e-3, 3e-6)] == ["2.500 s", "1.250 ms", "3.000 us"]

"""Ctrl-C at any moment of a compile: nothing is left, nothing goes on, and it says so."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import DIGITS, MAIN


def interrupted(tmp_path: Path, ready: str, prelude: str = "", *options: str) -> subprocess.CompletedProcess[str]:
    """Compiles in a process and sends SIGINT when it writes `ready`; its TMPDIR is a folder of its own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{prelude}\n{MAIN}", "compile", str(DIGITS), "-o", str(tmp_path / "out.so"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == ready:
            break
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert list(folder.iterdir()) == []
    return subprocess.CompletedProcess(process.args, process.returncode, "", errors)


# Stages are announced through one function: here it writes them to stdout, so that the signal comes at known moments.
_TELL = """
from tilewright.compiler.process import progress
announce = progress.Timeline.announce
def tell(self, name, done=0, total=0):
    print(name, flush=True)
    return announce(self, name, done, total)
progress.Timeline.announce = tell
"""


@pytest.mark.parametrize("stage", ["load TVM", "import", "channels_last", "schedule", "code"])
def test_interrupt_leaves_nothing(tmp_path: Path, stage: str) -> None:
    result = interrupted(tmp_path, stage, _TELL)

    assert (result.returncode, without_stages(result.stderr)) == (130, ["interrupted"])
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]


def without_stages(stderr: str) -> list[str]:
    """The lines but those of stages of more than two seconds, which are reported: loading TVM may be one."""
    return [line for line in stderr.splitlines() if not re.fullmatch(r"  .* \d+\.\d s", line)]


@pytest.mark.parametrize("stage", ["schedule", "code"])
def test_interrupt_ends_workers(tmp_path: Path, stage: str) -> None:
    # They inherit stderr, so that what they had to say of their end would be seen here.
    result = interrupted(tmp_path, stage, _TELL, "--jobs", "2")

    assert (result.returncode, without_stages(result.stderr)) == (130, ["interrupted"])
    assert [path.name for path in tmp_path.iterdir()] == ["tmp"]
    assert processes_with(f"TMPDIR={tmp_path / 'tmp'}") == []


def processes_with(setting: str) -> list[str]:
    """The processes that run with this in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if setting.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found


def has_ended(process: int) -> bool:
    """Whether it is gone, or a zombie that its new parent is about to collect."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_interrupt_stops_a_tool_that_hangs(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "cc"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    tool.chmod(0o755)
    hung = f"import os; os.environ['PATH'] = {str(tool.parent)!r} + ':' + os.environ['PATH']"
    wait = (
        "import threading, time, pathlib\n"
        f"pid = pathlib.Path({str(tmp_path / 'pid')!r})\n"
        "def watch():\n"
        "    while not (pid.exists() and pid.read_text()): time.sleep(0.02)\n"
        "    print('hung', flush=True)\n"
        "threading.Thread(target=watch, daemon=True).start()"
    )

    result = interrupted(tmp_path, "hung", f"{hung}\n{wait}")

    assert result.returncode == 130, result.stderr
    assert has_ended(int((tmp_path / "pid").read_text()))
    assert not (tmp_path / "out.so").exists()


def test_interrupt_of_the_last_step_comes_too_late(tmp_path: Path) -> None:
    # Between the two renames the signal waits, and then the command has done its work.
    prelude = f"""
from tilewright.compiler.process import install as module
replace_all = module.replace_all
def slow(renames):
    replace_all(renames)
    if renames[-1][1] == module.Path({str(tmp_path / "out.so")!r}):
        print('publishing', flush=True)
        import time; time.sleep(1)
module.replace_all = slow
"""
    result = interrupted(tmp_path, "publishing", prelude)

    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.h", "out.so", "tmp"]

"""Disks that are full, files that may not grow, output that nobody reads: an error of one screen, and nothing left."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import DIGITS, MAIN, MAX_LINES, fails
from tilewright.compiler.cli.main import run
from tilewright.compiler.process import install


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "digits.so"
    assert run(["compile", str(DIGITS), "-o", str(path), "--threads", "1"]) == 0
    return path


def test_files_that_may_not_grow(tmp_path: Path) -> None:
    # The linker is the first whose file would be too large.
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); {MAIN}"
    result = subprocess.run(
        [sys.executable, "-c", code, "compile", str(DIGITS), "-o", str(tmp_path / "out.so")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode in (2, 5), result.stderr
    assert "Traceback" not in result.stderr and "internal error" not in result.stderr
    assert len(result.stderr.splitlines()) <= MAX_LINES
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 100 kB, less than half of the library."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_disk_full_leaves_nothing(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails(capsys, ["compile", DIGITS, "-o", small_disk / "out.so"], 2, "No space left on device", "out.so")
    assert list(small_disk.iterdir()) == []


def test_a_full_disk_keeps_the_library_that_was_there(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.so"
    output.write_bytes(b"yesterday's")

    def full(source: Path, descriptor: int) -> None:
        os.write(descriptor, b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(install, "copy", full)
    fails(capsys, ["compile", DIGITS, "-o", output], 2, "No space left on device")
    assert output.read_bytes() == b"yesterday's"
    assert list(tmp_path.iterdir()) == [output]


def test_stdout_that_is_full_or_closed(library: Path) -> None:
    command = [sys.executable, "-c", MAIN, "inspect", str(library)]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert result.returncode == 2 and "cannot be written" in result.stderr and "Traceback" not in result.stderr
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) in (0, 141)

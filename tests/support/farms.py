"""TVM's tracker, and devices that are lent to it, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tilewright.compiler.runners.places import emulator_words
from tilewright.compiler.runners.serving import _build
from tilewright.targets import parse


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


@contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process whose group is killed behind the block."""
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running_tracker() -> Iterator[int]:
    """The port of TVM's tracker."""
    pytest.importorskip("tornado", reason="TVM's tracker needs tornado: pip install tilewright[farm]")
    port = free_port()
    words = [sys.executable, "-m", "tvm.exec.rpc_tracker", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--port-end", str(port + 1), "--silent"]
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with ended(process):
        for _ in range(1200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port


def built_server(folder: Path) -> Path:
    """The server for this machine."""
    _build(parse("host").triple, folder, is_for_here=True)
    return folder / "server"


@contextmanager
def lent(server: Path, port: int, key: str, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A device that is lent, which starts programs by a command."""
    words = [str(server), f"127.0.0.1:{port}", key, *command]
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE)
    with ended(process):
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"waiting on port")
        yield process


def need_qemu(architecture: str) -> list[str]:
    """The command that emulates an architecture, with its C library."""
    if shutil.which(f"qemu-{architecture}") is None:
        pytest.skip(f"there is no qemu-{architecture}: install qemu-user")
    if not any(Path("/usr", f"{architecture}-linux-gnu").glob("lib*/ld-*")):
        pytest.skip(f"there is no C library for {architecture}: install libc6-arm64-cross")
    return emulator_words(f"{architecture}-unknown-linux-gnu", (), is_shared=True)

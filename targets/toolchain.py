"""The C compiler, linker and archiver for a target: the host's own, or zig's from PyPI."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputError, ToolError

_HOST_COMPILERS = ("cc", "gcc", "clang")
_LAST_LINES = 12

# The oldest glibc that libraries linked by zig should run on.
_ZIG_GLIBC = "2.17"


@dataclass(frozen=True)
class Toolchain:
    """Command lines, each the start of one: `cc` compiles and links, `ar` archives."""

    name: str
    cc: tuple[str, ...]
    ar: tuple[str, ...]

    def run(self, command: Sequence[str], folder: Path) -> None:
        """Runs a command in a folder.

        Raises:
            ToolError: it cannot be started or fails; `details` holds its last lines.
            OutputError: the disk is full.
        """
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, "TMPDIR": str(folder.resolve())},  # what it leaves goes with the folder
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise ToolError(f"{command[0]} cannot be started: {error.strerror}", where=self.name) from error
        if done.returncode == 0:
            return
        lines = (done.stderr + done.stdout).strip().splitlines()
        if any("No space left on device" in line for line in lines):
            raise OutputError(
                "the disk is full", where=str(folder), hint="free some space, or set TMPDIR to another disk"
            )
        raise ToolError(
            f"{self.name} failed with exit code {done.returncode}",
            where=" ".join(command[:4]),
            details=lines[-_LAST_LINES:],
        )


def find_toolchain(triple: str) -> Toolchain:
    """The toolchain for a target: the host's when it builds for it, else zig.

    Raises:
        ToolError: there is neither.
    """
    host = _host(triple)
    if host:
        return host
    if importlib.util.find_spec("ziglang") is None:
        raise ToolError(
            f"there is no C compiler for {triple}",
            where="linker",
            hint="pip install ziglang, or install gcc when the target is this machine",
        )
    return zig_toolchain(triple)


def zig_toolchain(triple: str) -> Toolchain:
    """Zig's compiler and archiver for a triple of four parts."""
    arch, _, system, environment = triple.split("-")
    version = f".{_ZIG_GLIBC}" if environment.startswith("gnu") else ""
    zig = (sys.executable, "-m", "ziglang")
    # Zig compiles C with sanitizers unless told not to.
    flags = ("-target", f"{arch}-{system}-{environment}{version}", "-fno-sanitize=all")
    return Toolchain("zig", (*zig, "cc", *flags), (*zig, "ar"))


def _host(triple: str) -> Toolchain | None:
    arch, _, system, environment = triple.split("-")
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    if (arch, system, environment) != (platform.machine(), platform.system().lower(), libc):
        return None
    compiler = next((path for path in map(shutil.which, _HOST_COMPILERS) if path), None)
    archiver = shutil.which("ar")
    return Toolchain(Path(compiler).name, (compiler,), (archiver,)) if compiler and archiver else None

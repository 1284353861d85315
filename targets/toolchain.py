"""The C compiler, linker and archiver for a target: the host's own, or zig's from PyPI."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import OutputError, ToolError
from .architectures import architecture_named, architecture_of
from .systems import ELF, LINUX, split

_HOST_COMPILERS = ("cc", "gcc", "clang")
_LAST_LINES = 12

# The oldest glibc that libraries linked by zig should run on, and the first one of architectures that came later.
_OLDEST_GLIBC = "2.17"
_ZIG_GLIBC = {"riscv64": "2.27", "riscv32": "2.33", "loongarch64": "2.36"}


@dataclass(frozen=True)
class Toolchain:
    """Command lines, each the start of one: `cc` compiles and links, `ar` archives; and the format of object files.

    `linked` is a file in zig's cache that is there once something was linked for the target. `keeps_symbols`: whether a
    linker that leaves out what is for debuggers keeps the table of symbols, where profilers look: zig's does not.
    """

    name: str
    cc: tuple[str, ...]
    ar: tuple[str, ...]
    object_format: str = ELF
    linked: Path | None = None
    keeps_symbols: bool = True

    @property
    def is_new(self) -> bool:
        """Whether the first link is yet to come, which takes a minute or two: zig builds the target's C library."""
        return self.linked is not None and not self.linked.exists()

    def note_link(self) -> None:
        """Notes that a link succeeded."""
        if self.is_new and self.linked is not None:
            with contextlib.suppress(OSError):
                self.linked.touch()

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
            hint="pip install ziglang",
        )
    return zig_toolchain(triple)


def static_toolchain(triple: str) -> Toolchain:
    """The toolchain for programs that need nothing where they run: the host's when it has a static C library, else zig.

    On Linux zig's has musl inside.

    Raises:
        ToolError: there is neither.
    """
    host = _host(triple)
    if host and _has_static_library(host):
        return host
    parts = split(triple)
    if importlib.util.find_spec("ziglang") is None:
        hint = "pip install ziglang"
        raise ToolError(f"nothing here links programs for {triple} that stand alone", where="--emit bench", hint=hint)
    if parts.system is LINUX:
        parts = replace(parts, environment=parts.environment.replace("gnu", "musl"))
    return zig_toolchain(str(parts))


def zig_toolchain(triple: str) -> Toolchain:
    """Zig's compiler and archiver for a full triple."""
    parts = split(triple)
    architecture = architecture_named(parts.architecture)
    oldest = _ZIG_GLIBC.get(architecture.name, _OLDEST_GLIBC)
    version = f".{oldest}" if parts.environment.startswith("gnu") and parts.system is LINUX else ""
    name = "-".join(filter(None, (architecture.zig or architecture.name, parts.system.zig, parts.environment)))
    zig = (sys.executable, "-m", "ziglang")
    cpu = (f"-mcpu={architecture.zig_cpu}",) if architecture.zig_cpu else ()
    # Zig compiles C with sanitizers unless told not to.
    flags = ("-target", f"{name}{version}", *cpu, "-fno-sanitize=all", *architecture.zig_flags)
    return Toolchain(
        "zig",
        (*zig, "cc", *flags),
        (*zig, "ar"),
        parts.system.object_format,
        _zig_cache() / f"tilewright-{name}",
        keeps_symbols=False,
    )


def _zig_cache() -> Path:
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zig"
    return Path(os.environ.get("ZIG_GLOBAL_CACHE_DIR") or default)


def _host(triple: str) -> Toolchain | None:
    parts = split(triple)
    libc = "gnu" if platform.libc_ver()[0] == "glibc" else "musl"
    here = architecture_of(platform.machine())
    same = here is not None and here.name == parts.architecture and platform.system().lower() == parts.system.python
    if not same or (parts.environment and not parts.environment.startswith(libc)):
        return None
    compiler = next((path for path in map(shutil.which, _HOST_COMPILERS) if path), None)
    archiver = shutil.which("ar")
    return Toolchain(Path(compiler).name, (compiler,), (archiver,)) if compiler and archiver else None


def _has_static_library(toolchain: Toolchain) -> bool:
    """Whether its compiler knows where a static C library is: of what it does not find it says the name alone."""
    asked = [*toolchain.cc, "-print-file-name=libc.a"]
    try:
        found = subprocess.run(asked, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError:
        return False
    return found.returncode == 0 and Path(found.stdout.strip()).is_absolute()

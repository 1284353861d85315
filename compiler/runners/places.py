"""Where `--device` executes: under qemu-user, behind a command of the user's, on a machine behind ssh."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import ToolError, UsageError
from ...targets.architectures import architecture_named
from ...targets.systems import LINUX, split
from ..library.signature import Signature
from .device import PROGRAM, Place, checked

_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Emulator:
    """qemu-user: programs of Linux for other processors. What they take there says nothing of a machine."""

    def execute(self, signature: Signature, folder: Path, command: list[str]) -> str:
        """Under qemu-ARCH, with the C library for shared ones from QEMU_LD_PREFIX or Debian's packages."""
        parts = split(signature.triple)
        architecture = architecture_named(parts.architecture)
        if not architecture.emulator or parts.system is not LINUX:
            raise ToolError(f"qemu-user runs no programs for {signature.triple}", where="--device qemu")
        qemu = shutil.which(f"qemu-{architecture.emulator}") or shutil.which(f"qemu-{architecture.emulator}-static")
        if qemu is None:
            raise ToolError(
                f"qemu-{architecture.emulator} is not installed",
                where="--device qemu",
                hint="install qemu-user (on Debian and Ubuntu: sudo apt-get install qemu-user)",
            )
        words = [qemu, *architecture.emulator_options(signature.cpu_features)]
        if len(command) > 1 and command[1].startswith("./"):  # a library, and so a C library
            words += ["-L", _sysroot(signature)]
        return _executed([*words, f"./{command[0]}", *command[1:]], folder, "qemu")


def _sysroot(signature: Signature) -> str:
    """The folder with the C library that shared libraries for a target are linked with."""
    architecture = architecture_named(signature.arch)
    folder = (
        os.environ.get("QEMU_LD_PREFIX") or f"/usr/{architecture.zig or architecture.name}-linux-gnu{architecture.abi}"
    )
    if not any(Path(folder).glob("lib*/ld-*")):
        package = f"libc6-{architecture.debian}-cross"
        raise ToolError(
            f"there is no C library for {signature.triple} in {folder}",
            where="--device qemu",
            hint=f"sudo apt-get install {package}, set QEMU_LD_PREFIX, or compile with --emit bench",
        )
    return folder


@dataclass(frozen=True)
class Behind:
    """A command before the program's own words: ``exec:wine``, ``exec:./on-the-phone``."""

    words: tuple[str, ...]

    def execute(self, signature: Signature, folder: Path, command: list[str]) -> str:
        """Here, in the folder."""
        if self.words and shutil.which(self.words[0]) is None:
            raise ToolError(f"there is no command {self.words[0]!r}", where="--device exec:")
        return _executed([*self.words, f"./{command[0]}", *command[1:]], folder, "exec:" + shlex.join(self.words))


@dataclass(frozen=True)
class Ssh:
    """A machine that ``ssh USER@HOST`` reaches without asking for a password; files go to a temporary folder there."""

    address: str

    def execute(self, signature: Signature, folder: Path, command: list[str]) -> str:
        """Sends the folder, executes there, and fetches what was written."""
        for tool in ("ssh", "scp"):
            if shutil.which(tool) is None:
                raise ToolError(f"{tool} is not installed", where=f"--device {self}", hint="install openssh-client")
        ssh = ["ssh", "-o", "BatchMode=yes", self.address]
        there = _executed([*ssh, "mktemp -d /tmp/tilewright-XXXXXX"], folder, str(self)).strip()
        try:
            sent = sorted(path.name for path in folder.iterdir())
            _executed(["scp", "-q", "-o", "BatchMode=yes", *sent, f"{self.address}:{there}/"], folder, str(self))
            script = f"cd {shlex.quote(there)} && chmod +x {PROGRAM} && exec ./{shlex.join(command)}"
            text = _executed([*ssh, script], folder, str(self))
            source = f"{self.address}:{there}/*.bin"
            _executed(["scp", "-q", "-o", "BatchMode=yes", source, "."], folder, str(self))
            return text
        finally:
            subprocess.run([*ssh, f"rm -rf {shlex.quote(there)}"], stdin=subprocess.DEVNULL, capture_output=True)

    def __str__(self) -> str:
        return f"ssh:{self.address}"


def _executed(words: Sequence[str], folder: Path, where: str) -> str:
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
        )
    except OSError as error:
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}", where=where) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError("the program there did not end", where=where) from error
    return checked(done.returncode, done.stdout, done.stderr, where)


# By what a device's text begins with; the rest is for them to read.
_PLACES: dict[str, Callable[[str], Place]] = {
    "qemu": lambda rest: Emulator(),
    "exec": lambda rest: Behind(tuple(shlex.split(rest))),
    "ssh": Ssh,
}
_NEEDS_REST = {"exec": "exec:COMMAND", "ssh": "ssh:USER@HOST"}


def place_of(device: str) -> Place:
    """The place that a text names: ``qemu``, ``exec:COMMAND`` or ``ssh:USER@HOST``.

    Raises:
        UsageError: it names none.
    """
    kind, _, rest = device.partition(":")
    is_whole = bool(rest.strip()) == (kind in _NEEDS_REST)
    if kind not in _PLACES or not is_whole or (kind == "ssh" and rest.startswith("-")):
        raise UsageError(
            f"there is no device {device!r}", where="--device", hint="one of qemu, exec:COMMAND, ssh:USER@HOST"
        )
    return _PLACES[kind](rest)

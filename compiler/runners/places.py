"""Where `--device` executes: under qemu-user, behind a command of the user's, on a machine behind ssh, in a farm."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import DeviceLostError, ToolError, UsageError
from ...targets.architectures import architecture_named
from ...targets.systems import LINUX, split
from ..library.signature import Signature
from .device import PROGRAM, Ended, Place
from .farm import Farm, farm_of

_TIMEOUT_SECONDS = 3600.0
_SSH_FAILED = 255
_SIGNALLED = 128


@dataclass(frozen=True)
class Emulator:
    """qemu-user: programs of Linux for other processors. What they take there says nothing of a machine."""

    def execute(
        self, signature: Signature, folder: Path, command: list[str], seconds: float = _TIMEOUT_SECONDS
    ) -> Ended:
        """Under qemu-ARCH, with the C library for shared ones from QEMU_LD_PREFIX or Debian's packages."""
        is_shared = len(command) > 1 and command[1].startswith("./")
        words = emulator_words(signature.triple, signature.cpu_features, is_shared=is_shared)
        return _executed([*words, f"./{command[0]}", *command[1:]], folder, str(self), seconds)

    def __str__(self) -> str:
        return "qemu"


def emulator_words(triple: str, features: Sequence[str], *, is_shared: bool) -> list[str]:
    """The command that starts programs for a target on this machine.

    Args:
        features: that they need of the processor.
        is_shared: whether they load libraries, and so need the target's C library.

    Raises:
        ToolError: something that it takes is not installed.
    """
    parts = split(triple)
    architecture = architecture_named(parts.architecture)
    if not architecture.emulator or parts.system is not LINUX:
        raise ToolError(
            f"qemu-user runs no programs for {triple}",
            where="--device qemu",
            hint="it runs Linux's; take the library there, or give a command that starts its programs: exec:COMMAND",
        )
    qemu = shutil.which(f"qemu-{architecture.emulator}") or shutil.which(f"qemu-{architecture.emulator}-static")
    if qemu is None:
        raise ToolError(
            f"qemu-{architecture.emulator} is not installed",
            where="--device qemu",
            hint="install qemu-user (on Debian and Ubuntu: sudo apt-get install qemu-user)",
        )
    words = [qemu, *architecture.emulator_options(tuple(features))]
    return [*words, "-L", _sysroot(triple)] if is_shared else words


def _sysroot(triple: str) -> str:
    """The folder with the C library that shared libraries for a target are linked with."""
    architecture = architecture_named(split(triple).architecture)
    folder = (
        os.environ.get("QEMU_LD_PREFIX") or f"/usr/{architecture.zig or architecture.name}-linux-gnu{architecture.abi}"
    )
    if not any(Path(folder).glob("lib*/ld-*")):
        package = f"libc6-{architecture.debian}-cross"
        raise ToolError(
            f"there is no C library for {triple} in {folder}",
            where="--device qemu",
            hint=f"sudo apt-get install {package}, set QEMU_LD_PREFIX, or compile with --emit bench",
        )
    return folder


@dataclass(frozen=True)
class Behind:
    """A command before the program's own words: ``exec:wine``, ``exec:./on-the-phone``."""

    words: tuple[str, ...]

    def execute(
        self, signature: Signature, folder: Path, command: list[str], seconds: float = _TIMEOUT_SECONDS
    ) -> Ended:
        """Here, in the folder."""
        words = [*self._own_words(), f"./{command[0]}", *command[1:]]
        return _executed(words, folder, str(self), seconds)

    def _own_words(self) -> list[str]:
        """Those of the command, which is found from the caller's folder; none: the program is executed itself."""
        if not self.words:
            return []
        first, *more = self.words
        found = shutil.which(first)
        if found is None:
            raise ToolError(
                f"there is no command {first!r}",
                where=f"--device {self}",
                hint="give one that starts the program whose words follow it: exec:wine64, exec:./on-board.sh",
            )
        return [str(Path(found).absolute()), *more]

    def __str__(self) -> str:
        return "exec:" + shlex.join(self.words)


@dataclass(frozen=True)
class Ssh:
    """A machine that ``ssh USER@HOST`` reaches without asking for a password; files go to a temporary folder there."""

    address: str

    def execute(
        self, signature: Signature, folder: Path, command: list[str], seconds: float = _TIMEOUT_SECONDS
    ) -> Ended:
        """Sends the folder, executes there, and fetches what was written."""
        for tool in ("ssh", "scp"):
            if shutil.which(tool) is None:
                raise ToolError(f"{tool} is not installed", where=f"--device {self}", hint="install openssh-client")
        ssh = ["ssh", "-o", "BatchMode=yes", self.address]
        there = self._done([*ssh, "mktemp -d /tmp/tilewright-XXXXXX"], folder).strip()
        try:
            sent = sorted(path.name for path in folder.iterdir())
            self._done(["scp", "-q", "-o", "BatchMode=yes", *sent, f"{self.address}:{there}/"], folder)
            script = f"cd {shlex.quote(there)} && chmod +x {PROGRAM} && exec ./{shlex.join(command)}"
            ended = _executed([*ssh, script], folder, str(self), seconds)
            if ended.code == _SSH_FAILED:
                raise self._lost(ended)
            source = f"{self.address}:{there}/*.bin"
            self._done(["scp", "-q", "-o", "BatchMode=yes", source, "."], folder)
            return ended
        finally:
            subprocess.run([*ssh, f"rm -rf {shlex.quote(there)}"], stdin=subprocess.DEVNULL, capture_output=True)

    def _done(self, words: Sequence[str], folder: Path) -> str:
        """What a command that has to succeed prints."""
        ended = _executed(words, folder, str(self), _TIMEOUT_SECONDS)
        if ended.code != 0:
            raise self._lost(ended)
        return ended.printed

    def _lost(self, ended: Ended) -> DeviceLostError:
        details = ended.errors.strip().splitlines()[-6:]
        return DeviceLostError(
            "the device does not answer",
            where=f"--device {self}",
            details=details,
            hint=f"`ssh {self.address} true` has to work without a question: the name, the network, a host key that is "
            f"known, a key of yours there (ssh-copy-id {self.address}), and a shell",
        )

    def __str__(self) -> str:
        return f"ssh:{self.address}"


def _executed(words: Sequence[str], folder: Path, where: str, seconds: float) -> Ended:
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
        )
    except OSError as error:
        raise ToolError(f"{words[0]} cannot be started: {error.strerror}", where=where) from error
    except subprocess.TimeoutExpired:
        return Ended(None, "", "")
    code = done.returncode if done.returncode >= 0 else _SIGNALLED - done.returncode
    return Ended(code, done.stdout, done.stderr)


# By what a device's text begins with; the rest is for them to read.
_PLACES: dict[str, Callable[[str], Place]] = {
    "qemu": lambda rest: Emulator(),
    "exec": lambda rest: Behind(tuple(shlex.split(rest))),
    "ssh": Ssh,
    "rpc": farm_of,
}
_NEEDS_REST = {"exec": "exec:COMMAND", "ssh": "ssh:USER@HOST", "rpc": "rpc:HOST:PORT/KEY"}


def place_of(device: str) -> Place:
    """The place that a text names: ``qemu``, ``exec:COMMAND``, ``ssh:USER@HOST`` or ``rpc:HOST:PORT/KEY``.

    Raises:
        UsageError: it names none.
    """
    kind, _, rest = device.partition(":")
    is_whole = bool(rest.strip()) == (kind in _NEEDS_REST)
    if kind not in _PLACES or not is_whole or (kind == "ssh" and rest.startswith("-")):
        raise UsageError(
            f"there is no device {device!r}",
            where="--device",
            hint=f"one of qemu, {', '.join(_NEEDS_REST.values())}",
        )
    return _PLACES[kind](rest)


def places_of(device: str) -> list[Place]:
    """The devices that a text names, for work that several can share: of a farm as many as it has.

    Raises:
        UsageError: it names none.
        DeviceLostError: the farm does not answer, or has none.
    """
    place = place_of(device)
    return [place] * place.count() if isinstance(place, Farm) else [place]

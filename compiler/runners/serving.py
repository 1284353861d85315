"""The server that lends a device to a farm: built for the device, and run here for a machine or an emulated one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ...errors import OutputError, ToolError, UsageError
from ...targets.systems import LINUX, split
from ...targets.target import Target
from ...targets.toolchain import find_toolchain, static_toolchain
from ..emission.glue import write_program
from ..process.install import written_whole
from ..process.places import output_errors
from ..process.temporary import temporary_folder
from .places import emulator_words

_PROGRAM = "server"
_FLAGS = ("-std=gnu11", "-O2")


def write_server(target: Target, path: Path) -> None:
    """Writes the server as a program for a target that needs nothing there but Linux.

    Raises:
        ToolError: it cannot be built.
        OutputError: it cannot be written.
    """
    with temporary_folder() as folder:
        _build(target.triple, folder, is_for_here=False)
        with output_errors(path), written_whole(path) as file:
            file.write((folder / _PROGRAM).read_bytes())
        try:
            path.chmod(0o755)
        except OSError as error:
            raise OutputError(f"it cannot be made a program: {error.strerror}", where=str(path)) from error


def serve(tracker: str, key: str, target: Target, device: str | None) -> None:
    """Lends this machine, or one that is emulated on it, until the process ends.

    Args:
        tracker: ``HOST:PORT``.
        key: what such devices are asked for by.
        target: what the device is.
        device: ``qemu``, or None for this machine itself.

    Raises:
        UsageError: there is no such device to lend.
        ToolError: the server cannot be built, or ended.
    """
    if device not in (None, "qemu"):
        raise UsageError(
            f"{device!r} cannot be lent from here", where="--device", hint="qemu, or start the server there: serve -o"
        )
    words = [] if device is None else emulator_words(target.triple, target.required_features, is_shared=True)
    with temporary_folder() as folder:
        _build(_here(), folder, is_for_here=True)
        try:
            done = subprocess.run([folder / _PROGRAM, tracker, key, *words], stdin=subprocess.DEVNULL)
        except OSError as error:
            raise ToolError(f"the server cannot be started: {error.strerror}", where="serve") from error
    raise ToolError(f"the server ended with code {done.returncode}", where=f"--tracker {tracker} --key {key}")


def _here() -> str:
    from ...targets import parse

    return parse("host").triple


def _build(triple: str, folder: Path, *, is_for_here: bool) -> None:
    if split(triple).system is not LINUX:
        raise ToolError(f"there is no server for {triple}", where="serve", hint="devices of a farm run Linux")
    write_program("server.c", folder)
    toolchain = find_toolchain(triple) if is_for_here else static_toolchain(triple)
    flags = _FLAGS if is_for_here else (*_FLAGS, "-static", "-s")
    toolchain.run([*toolchain.cc, *flags, "server.c", "-o", _PROGRAM], folder)

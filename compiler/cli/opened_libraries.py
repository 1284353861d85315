"""What a command line names is opened, with what runs it: this process, a device, or an emulated board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UnsupportedTargetError, UsageError
from ..library.signature import check_threads

if TYPE_CHECKING:
    from ..library.artifact import CompiledModel
    from ..runners.runner import Library, Runner


def open_library(path: Path, threads: int | None) -> CompiledModel:
    """Loads a library for so many threads.

    Raises:
        LibraryError, UnsupportedError: as `artifact.load`.
        UsageError: the library cannot run with so many.
    """
    from ..library.artifact import load

    model = load(path)
    if threads is not None:
        check_threads(threads)
        model.set_num_threads(threads)
    return model


def open_there(path: Path, threads: int | None, device: str | None) -> tuple[Library, Runner]:
    """A library and what runs it for so many threads: this process, or a device; C sources run on an emulated board.

    Raises:
        LibraryError, UnsupportedError: as `artifact.load`.
        UsageError: the library cannot run with so many; there is no such device.
        ToolError: an emulated board takes what is not installed.
    """
    from ..runners.local import LocalRunner

    if path.is_dir():
        return _on_a_board(path, threads, device)
    if device is None:
        return open_library(path, threads), LocalRunner()
    from ..library.artifact import read_file
    from ..runners.device import DeviceRunner
    from ..runners.places import place_of

    if threads is not None:
        check_threads(threads)
    library = read_file(path)
    if library.signature.device:
        raise UnsupportedTargetError(
            "libraries for GPUs are run by this process", where=f"--device {device}", hint="leave it out where a GPU is"
        )
    return library, DeviceRunner(place_of(device), threads or 0)


def _on_a_board(folder: Path, threads: int | None, device: str | None) -> tuple[Library, Runner]:
    from ..runners.microcontroller import MicrocontrollerRunner, load_sources

    sources = load_sources(folder)
    if device != "qemu":
        raise UsageError(
            f"C sources for {sources.signature.cpu} run on a board that is emulated",
            where=f"--device {device}" if device else str(folder),
            hint="--device qemu, for a Cortex-M; `make shared` in it, not a Cortex-M55's, makes a library for here",
        )
    if threads is not None:
        raise UsageError("C sources have one thread", where="--threads", hint="leave it out")
    return sources, MicrocontrollerRunner()

"""The object of a library's threads: the same in all libraries for a machine, but for the names of its symbols."""

from __future__ import annotations

from pathlib import Path

from ...targets.architectures import architecture_named
from ...targets.target import Target
from ...targets.toolchain import Toolchain
from ..emission import glue, link
from .object_files import with_own_symbols

_COMPILED: dict[tuple[Toolchain, str], bytes] = {}  # by this process


def thread_object(toolchain: Toolchain, target: Target, name: str, folder: Path) -> Path:
    """Writes the object of the library with this prefix, and its sources; compiles them once in a process.

    Raises:
        ToolError: the compiler failed.
    """
    glue.write_thread_sources(folder)
    pause = architecture_named(target.arch).pause
    path = folder / "threads.o"
    if (toolchain, pause) not in _COMPILED:
        _COMPILED[toolchain, pause] = link.compile_threads(toolchain, folder, pause).read_bytes()
    path.write_bytes(with_own_symbols(_COMPILED[toolchain, pause], target.object_format, name))
    return path

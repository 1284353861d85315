"""The object of the threads: compiled once in a process, and every library's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.compiler.codegen import thread_objects
from tilewright.compiler.codegen.object_files import FORMATS
from tilewright.compiler.library.naming import COMMON_SYMBOLS, own_symbol
from tilewright.targets.toolchain import Toolchain, find_toolchain

TRIPLES = ["aarch64-linux-gnu", "x86_64-windows-gnu", "aarch64-apple-macos"]


def test_the_compiler_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    monkeypatch.setattr(thread_objects, "_COMPILED", {})
    run = Toolchain.run

    def noted(self: Toolchain, command: Sequence[str], folder: Path) -> None:
        commands.append(command)
        run(self, command, folder)

    monkeypatch.setattr(Toolchain, "run", noted)
    target = targets.host()
    objects = []
    for name in ("one", "other", "one"):
        folder = tmp_path / str(len(objects))
        folder.mkdir()
        path = thread_objects.thread_object(find_toolchain(target.triple), target, name, folder)
        assert (folder / "thread_pool.c").exists()  # for whoever keeps the folder
        objects.append(path.read_bytes())

    assert len(commands) == 1
    assert objects[0] == objects[2] != objects[1]


@pytest.mark.parametrize("triple", [targets.host().triple, *TRIPLES])
def test_libraries_in_one_program_share_no_symbol(triple: str, tmp_path: Path) -> None:
    target = targets.parse(triple)
    seen = []
    for name in ("one", "other"):
        path = thread_objects.thread_object(find_toolchain(target.triple), target, name, tmp_path)
        symbols = {each.name: each.is_defined for each in FORMATS[target.object_format].symbols(path.read_bytes())}
        launch, functions, limits = (own_symbol(common, name) for common in COMMON_SYMBOLS)
        assert symbols[launch] and symbols[functions] and not symbols[limits]
        assert not set(COMMON_SYMBOLS) & set(symbols)
        seen.append({symbol for symbol, is_defined in symbols.items() if is_defined})

    assert not seen[0] & seen[1]

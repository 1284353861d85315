"""Static libraries: their signature is read from the archive, and what is no archive of ours is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import tilewright
from small_models import swish_network
from tilewright.compiler.build import build
from tilewright.compiler.library.archive import read_archive
from tilewright.compiler.library.artifact import read_signature
from tilewright.compiler.options import CompileOptions
from tilewright.errors import LibraryError


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, object]:
    made = build(
        swish_network(), tmp_path_factory.mktemp("a") / "net.a", CompileOptions(emit="a", threads=1, jobs=1, name="net")
    )
    assert made.path is not None
    return made.path, made.signature


def test_it_says_what_it_is(archive: tuple[Path, object]) -> None:
    path, signature = archive
    assert read_signature(path) == signature


def test_it_cannot_be_loaded(archive: tuple[Path, object]) -> None:
    with pytest.raises(LibraryError, match="static library") as caught:
        tilewright.load(archive[0])
    assert "--emit so" in str(caught.value)


def test_damaged_archives(archive: tuple[Path, object], tmp_path: Path) -> None:
    whole = archive[0].read_bytes()
    cases = {
        "damaged or truncated": whole[:-100],
        "not written by Tilewright": b"!<arch>\n",
        "archive is damaged": b"!<arch>\n" + b"x" * 60,
    }
    for why, data in cases.items():
        path = tmp_path / "damaged.a"
        path.write_bytes(data)
        with pytest.raises(LibraryError, match=why):
            read_archive(path)

"""Weights on large pages: the same bytes, from memory that has no file, where Linux gives such pages."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tilewright
from small_models import model, node
from tilewright.compiler.library import large_pages

_SIZE = 9 * (1 << 20) + 3 * mmap.PAGESIZE
needs_large_pages = pytest.mark.skipif(not large_pages._page_size(), reason="Linux gives no large pages here")


@pytest.fixture
def held() -> Iterator[tuple[int, mmap.mmap, bytes]]:
    """A file in memory, a mapping of it that is read alone, and what is in it."""
    contents = np.random.default_rng(0).integers(0, 256, _SIZE, np.uint8).tobytes()
    descriptor = os.memfd_create("test")
    os.write(descriptor, contents)
    with mmap.mmap(descriptor, _SIZE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as mapped:
        yield descriptor, mapped, contents
    os.close(descriptor)


def _mapped(descriptor: int) -> int:
    """How often the process has the file in its memory."""
    number = f" {os.fstat(descriptor).st_ino} "
    return sum(number in line for line in Path("/proc/self/maps").read_text().splitlines())


def _large() -> int:
    """KiB of this process on large pages that have no file."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


@needs_large_pages
def test_bytes_move_to_large_pages_and_leave_the_file(held: tuple[int, mmap.mmap, bytes]) -> None:
    descriptor, mapped, contents = held
    before, blocks = _large(), os.fstat(descriptor).st_blocks
    large_pages.use_large_pages(descriptor)
    assert mapped[:] == contents
    assert not _mapped(descriptor)
    assert _large() - before >= 3 * 2048
    assert os.fstat(descriptor).st_blocks < blocks / 4
    # The pages at the ends may be those of the mappings beside it.
    assert os.pread(descriptor, mmap.PAGESIZE, 0) == contents[: mmap.PAGESIZE]
    assert os.pread(descriptor, mmap.PAGESIZE, _SIZE - mmap.PAGESIZE) == contents[-mmap.PAGESIZE :]


@pytest.mark.parametrize("setting", [None, "always madvise [never]\n"])
def test_without_large_pages_everything_stays(
    held: tuple[int, mmap.mmap, bytes], setting: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, mapped, contents = held
    if setting is not None:
        (tmp_path / "enabled").write_text(setting)
        (tmp_path / "hpage_pmd_size").write_text("2097152\n")
    monkeypatch.setattr(large_pages, "_SETTINGS", tmp_path)
    before = _mapped(descriptor)
    large_pages.use_large_pages(descriptor)
    assert _mapped(descriptor) == before
    assert mapped[:] == contents == os.pread(descriptor, _SIZE, 0)


def test_a_file_of_another_device_with_the_same_number_stays(
    held: tuple[int, mmap.mmap, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    descriptor, mapped, contents = held
    number = f" {os.fstat(descriptor).st_ino} "
    lines = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines() if number in line]
    lines = [[*line[:3], "fe:7f", *line[4:]] for line in lines]
    (tmp_path / "maps").write_text("\n".join(map(" ".join, lines)))
    monkeypatch.setattr(large_pages, "_MAPS", tmp_path / "maps")
    before = _mapped(descriptor)
    large_pages.use_large_pages(descriptor)
    assert before == _mapped(descriptor) > 0
    assert mapped[:] == contents == os.pread(descriptor, _SIZE, 0)


@needs_large_pages
def test_a_library_computes_with_weights_on_large_pages(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    weights, x = (rng.standard_normal(shape).astype("float32") for shape in ((1100, 2000), (3, 1100)))
    product = model(
        [node("MatMul", ["x", "w"], "y", "product")],
        {"x": ("float32", x.shape)},
        {"y": ("float32", (3, 2000))},
        {"w": weights},
    )
    path = tilewright.compile(product, output=tmp_path / "product.so", threads=1).path
    before = _large()
    library = tilewright.load(path)
    assert _large() - before >= 3 * 2048  # of 8.8 MB
    exact = x.astype("float64") @ weights
    assert np.abs(library(x) - exact).max() < 1e-5 * np.abs(exact).max()  # sums of 1,100 products in float32

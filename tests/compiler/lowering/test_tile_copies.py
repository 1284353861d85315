"""Which copies to shared memory are tiles of tensors, and what the tensors are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.lowering.tile_copies import TensorView
from tilewright.compiler.options import CompileOptions

TRIPLE = "nvptx64-nvidia-cuda"
_ROW = re.compile(r"\{(\d+), (\d+), MAP_OF_(\w+), (\d), \{([\d, ]+)\}, \{([\d, ]+)\}, \{([\d, ]+)\}\}")
Row = tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(", ")))


def mapped(proto: Any, folder: Path, cpu: str = "sm_90a") -> list[Row]:
    """The tensors that a library's kernels copy tiles of: dtype, extents, strides, box."""
    options = CompileOptions(target=TRIPLE, cpu=cpu, name="net", emit="cu", precision="fp16", jobs=1)
    build(proto, folder / "net", options)
    rows = _ROW.findall((folder / "net" / "library.c").read_text())
    return [(row[2], *map(numbers, row[4:])) for row in rows]  # type: ignore[misc]


def product(rows: tuple[int, ...], depth: int, columns: int) -> Any:
    weights = {"w": np.ones((depth, columns), np.float32)}
    # The first product makes its results float16, which are what the second one reads.
    weights["v"] = np.ones((depth, depth), np.float32)
    nodes = [node("MatMul", ["x", "v"], "h", "first"), node("MatMul", ["h", "w"], "y", "second")]
    return model(nodes, {"x": ("float32", (*rows, depth))}, {"y": ("float32", (*rows, columns))}, weights)


def test_rows_and_packed_columns(tmp_path: Path) -> None:
    found = mapped(product((512,), 776, 768), tmp_path)

    rows = [row for row in found if row[1] == (776, 512)]
    assert [(row[0], row[2], row[3][0]) for row in rows] == [("FLOAT16", (1552,), 64)]
    packed = [row for row in found if row not in rows]
    assert len(packed) == 2 and all(row[1][0] == row[3][0] == 64 and row[2] == (128,) for row in packed)


def test_lines_that_are_no_multiple_of_16_bytes_are_none(tmp_path: Path) -> None:
    found = mapped(product((512,), 772, 768), tmp_path)

    assert found and all(row[1][0] == 64 for row in found)


@pytest.mark.parametrize("cpu", ["sm_90", "sm_80,sm_90a"])
def test_machines_without_an_engine_have_no_tiles(cpu: str, tmp_path: Path) -> None:
    assert not mapped(product((512,), 768, 768), tmp_path, cpu)
    assert "tensor_map" not in "".join(path.read_text() for path in (tmp_path / "net").glob("*.cu"))


def test_a_view_is_read_back_from_its_text() -> None:
    view = TensorView("float16", (72, 61, 3), (144, 8784), (64, 128, 1))

    assert str(view) == "float16/72,61,3/144,8784/64,128,1"
    assert TensorView.parse(str(view)) == view

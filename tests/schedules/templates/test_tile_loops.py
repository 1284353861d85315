"""The inner loops of matrix kernels, counted in their machine code: as a loop written by hand, and little more.

Written by hand, a step of a tile of two by two loads four tiles and multiplies four times. Beside that stand here the
prefetches of the next panel, a share of the last tile's epilogue, and a few scalar instructions.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from machine_code import functions, innermost_loops
from small_models import model, node
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions

PRODUCT = "tdpbf16ps"
PRODUCTS = 4  # a step
# Beside what an epilogue takes: addresses of tiles and of prefetches, and the loop itself.
SCALARS = 12
# What a row of an epilogue takes with bias and activation, in two vectors.
SCALARS_A_ROW, VECTORS_A_ROW = 4, 8


def convolution(size: int, channels: int, outputs: int, kernel: int) -> onnx.ModelProto:
    weights = np.ones((outputs, channels, kernel, kernel), "float32")
    pads = [kernel // 2] * 4
    return model(
        [
            node("Transpose", ["x"], "first", "channels first", perm=[0, 3, 1, 2]),
            node("Conv", ["first", "w", "b"], "c", "conv", pads=pads),
            node("Relu", ["c"], "r", "relu"),
            node("Transpose", ["r"], "y", "channels last", perm=[0, 2, 3, 1]),
        ],
        {"x": ("float32", (1, size, size, channels))},
        {"y": ("float32", (1, size, size, outputs))},
        {"w": weights, "b": np.ones(outputs, "float32")},
    )


def dense(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    return model(
        [
            node("MatMul", ["x", "w"], "m", "product"),
            node("Add", ["m", "b"], "s", "bias"),
            node("Relu", ["s"], "y", "relu"),
        ],
        {"x": ("float32", (rows, depth))},
        {"y": ("float32", (rows, columns))},
        {"w": np.ones((depth, columns), "float32"), "b": np.ones(columns, "float32")},
    )


@pytest.mark.parametrize(
    ("network", "prefetches", "rows"),
    [
        pytest.param(convolution(56, 64, 256, 1), 1, 16, id="1x1 56x56 64->256"),
        pytest.param(convolution(14, 256, 256, 3), 5, 1, id="3x3 14x14 256->256"),
        pytest.param(convolution(14, 1024, 256, 1), 5, 1, id="1x1 14x14 1024->256"),
        pytest.param(dense(128, 768, 3072), 8, 2, id="dense 128x768x3072"),
        pytest.param(convolution(56, 64, 64, 3), 1, 2, id="3x3 56x56 64->64"),
    ],
)
def test_a_step_is_what_it_would_be_by_hand(
    network: onnx.ModelProto, prefetches: int, rows: int, tmp_path: Path
) -> None:
    """`prefetches` and `rows` of an epilogue are the most that a step has."""
    options = CompileOptions(
        target="x86_64-linux-gnu", cpu="sapphirerapids", precision="bf16", threads=1, keep_temps=tmp_path, jobs=1
    )
    build(network, tmp_path / "m.so", options)
    kernels = [
        code
        for file in tmp_path.glob("kernels_*.o")
        for code in functions(file).values()
        if any(each.name == PRODUCT for each in code)
    ]
    (kernel,) = kernels
    assert sum(each.name == "ldtilecfg" for each in kernel) == 1
    loops = innermost_loops(kernel, PRODUCT)
    assert any(_kinds(loop)["vector"] for loop in loops), "no loop over k has a part of an epilogue in it"
    for loop in loops:
        kinds = _kinds(loop)
        steps = kinds[PRODUCT] / PRODUCTS
        assert kinds["tileloadd"] == kinds[PRODUCT] == steps * PRODUCTS
        assert kinds["prefetch"] <= steps * prefetches
        assert kinds["vector"] <= steps * rows * VECTORS_A_ROW
        assert kinds["scalar"] <= steps * (SCALARS + (SCALARS_A_ROW * rows if kinds["vector"] else 0))
    assert max(_kinds(loop)["prefetch"] / _kinds(loop)[PRODUCT] for loop in loops) == prefetches / PRODUCTS


def _kinds(loop: object) -> Counter[str]:
    return Counter(_kind(each.name) for each in loop)


def _kind(name: str) -> str:
    if name in (PRODUCT, "tileloadd"):
        return name
    if name.startswith("tile"):
        return "tile"
    return "prefetch" if name.startswith("prefetch") else "vector" if name.startswith("v") else "scalar"

"""The inner loops of matrix kernels, counted in their machine code: as a loop written by hand, and little more.

Written by hand, a step of a tile of two by two loads four tiles and multiplies four times. Beside that stand here the
prefetches of the next panel, a share of the last tile's epilogue, and a few scalar instructions.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from emitted_models import built
from machine_code import Code, functions, innermost_loops
from small_models import model, node
from tilewright import frontends, targets
from tilewright.compiler import pipeline
from tilewright.ir_passes import run_passes
from tilewright.schedules.templates.dot_product_choice import DotProductChoice
from tilewright.schedules.templates.template import choose_default

SAPPHIRE_RAPIDS = replace(
    targets.parse("x86_64-linux-gnu", cpu="sapphirerapids", cores=1), l1_bytes=48 << 10, l2_bytes=2 << 20
)
PRODUCT = "tdpbf16ps"
PRODUCTS = 4  # a step
DEPTH, LINES = 32, 32  # of k, and cache lines of the second operand, in a step
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
    "network",
    [
        pytest.param(convolution(56, 64, 256, 1), id="1x1 56x56 64->256"),
        pytest.param(convolution(14, 256, 256, 3), id="3x3 14x14 256->256"),
        pytest.param(convolution(14, 1024, 256, 1), id="1x1 14x14 1024->256"),
        pytest.param(dense(128, 768, 3072), id="dense 128x768x3072"),
        pytest.param(convolution(56, 64, 64, 3), id="3x3 56x56 64->64"),
    ],
)
def test_a_step_is_what_it_would_be_by_hand(network: onnx.ModelProto, tmp_path: Path) -> None:
    kernel, choice = compiled(network, tmp_path)
    assert (choice.row_registers, choice.vectors) == (2, 2)
    steps_of_tile = math.prod(choice.k) // DEPTH
    rows = math.ceil(choice.tile_rows / steps_of_tile)
    prefetches = math.ceil(LINES / choice.row_tiles)

    assert sum(each.name == "ldtilecfg" for each in kernel) == 1
    loops = [_kinds(loop) for loop in innermost_loops(kernel, PRODUCT)]
    assert any(kinds["vector"] for kinds in loops), "no loop over k has a part of an epilogue in it"
    for kinds in loops:
        steps = kinds[PRODUCT] / PRODUCTS
        assert kinds["tileloadd"] == kinds[PRODUCT] == steps * PRODUCTS
        assert kinds["prefetch"] == steps * prefetches
        assert kinds["vector"] <= steps * rows * VECTORS_A_ROW
        assert kinds["scalar"] <= steps * (SCALARS + (SCALARS_A_ROW * rows if kinds["vector"] else 0))


def compiled(network: onnx.ModelProto, folder: Path) -> tuple[Code, DotProductChoice]:
    """The one kernel of a network that multiplies tiles, and how it does."""
    chosen: list[Any] = []

    def noted(templates: Any, workload: Any, target: targets.Target) -> Any:
        decision = choose_default(templates, workload, target)
        chosen.append(decision.choice)
        return decision

    imported = frontends.load(frontends.open(network))
    module = run_passes(imported.module, pipeline.passes(SAPPHIRE_RAPIDS, precision="bf16", choose=noted)).module
    built(module, folder / "m.so", outputs=["y"], target=SAPPHIRE_RAPIDS, precision="bf16", keep_temps=folder)
    files = [functions(file) for file in folder.glob("kernels_*.o")]
    kernels = [code for each in files for code in each.values() if any(one.name == PRODUCT for one in code)]
    (kernel,), (choice,) = kernels, (each for each in chosen if isinstance(each, DotProductChoice))
    return kernel, choice


def _kinds(loop: Code) -> Counter[str]:
    return Counter(_kind(each.name) for each in loop)


def _kind(name: str) -> str:
    if name in (PRODUCT, "tileloadd"):
        return name
    if name.startswith("tile"):
        return "tile"
    return "prefetch" if name.startswith("prefetch") else "vector" if name.startswith("v") else "scalar"

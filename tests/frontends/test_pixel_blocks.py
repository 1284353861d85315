"""Elements moved between depth and space, and slices with steps: at odd widths, of every size of element."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from operator_cases import Array, Case, check


def _depth_to_space(x: Array, block: int, mode: str) -> Array:
    n, c, h, w = x.shape
    rest = c // block**2
    if mode == "DCR":
        parts = x.reshape(n, block, block, rest, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        parts = x.reshape(n, rest, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return parts.reshape(n, rest, h * block, w * block)


@pytest.mark.sweep(2)
@pytest.mark.parametrize(
    ("dtype", "cpu"),
    [
        (np.float32, "x86-64"),
        (np.float32, None),
        (ml_dtypes.bfloat16, None),
        (np.bool_, None),
        *(pytest.param(dtype, None, marks=pytest.mark.slow) for dtype in (np.float64, np.float16, np.uint8)),
    ],
)
def test_blocks_and_steps(dtype: Any, cpu: str | None) -> None:
    cases = {}
    for block, width in ((2, 7), (2, 24), (2, 60), (2, 80), (3, 12), (4, 20)):
        x = np.random.default_rng(width).integers(0, 2 if dtype is np.bool_ else 100, (2, 2 * block**2, 3, width))
        x = x.astype(dtype)
        for mode in ("DCR", "CRD"):
            attributes = {"blocksize": block, "mode": mode}
            spread = _depth_to_space(x, block, mode)
            cases[f"DepthToSpace {block} {width} {mode}"] = Case("DepthToSpace", {"x": x}, {}, attributes, [spread])
        spread = _depth_to_space(x, block, "DCR")
        cases[f"SpaceToDepth {block} {width}"] = Case("SpaceToDepth", {"x": spread}, {}, {"blocksize": block}, [x])
    for width in (7, 24, 61, 80, 1001):
        x = np.random.default_rng(width).integers(0, 2 if dtype is np.bool_ else 100, (3, width)).astype(dtype)
        for start, step in ((0, 2), (1, 2), (0, 3), (2, 4), (-1, -1), (-1, -2)):
            taken = x[:, start::step]
            ends = {"s": [start], "e": [width if step > 0 else -width - 1], "a": [1], "t": [step]}
            constants = {name: np.array(value) for name, value in ends.items()}
            cases[f"Slice {width} {start} {step}"] = Case("Slice", {"x": x}, constants, {}, [taken])
    check(cases, rtol=0, atol=0, cpu=cpu)

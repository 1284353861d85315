"""Concatenations written in place, all the way through the library, at offsets that no vector divides."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import tilewright
from small_models import model, node


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [(5, 12, 3), (16, 32, 8)])
def test_branches_meet_without_a_copy(channels: tuple[int, int, int], threads: int) -> None:
    """Convolutions, direct and Winograd, and a pool write their channels of one tensor; another kernel reads it."""
    rng = np.random.default_rng(0)
    one, three, pooled = channels
    weights = {
        "w1": (rng.standard_normal((one, 16, 1, 1)) / 4).astype(np.float32),
        "w3": (rng.standard_normal((three, 16, 3, 3)) / 12).astype(np.float32),
        "wp": (rng.standard_normal((pooled, 16, 1, 1)) / 4).astype(np.float32),
        "w": (rng.standard_normal((8, sum(channels), 3, 3)) / np.sqrt(9 * sum(channels))).astype(np.float32),
    }
    proto = model(
        [
            node("Conv", ["x", "w1"], "a", "one"),
            node("Relu", ["a"], "ar", "one relu"),
            node("Conv", ["x", "w3"], "b", "three", pads=[1, 1, 1, 1]),
            node("Conv", ["x", "wp"], "c", "before the pool"),
            node("MaxPool", ["c"], "p", "pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Concat", ["ar", "b", "p"], "whole", "join", axis=1),
            node("Conv", ["whole", "w"], "y", "last"),
        ],
        {"x": ("float32", (1, 16, 24, 24))},
        {"y": ("float32", (1, 8, 22, 22))},
        weights,
    )
    x = rng.standard_normal((1, 16, 24, 24)).astype(np.float32)
    compiled = tilewright.compile(proto, threads=threads)
    symbols = [kernel.symbol for kernel in compiled.signature.kernels]
    assert sum("_at_" in symbol for symbol in symbols) == 3 and not any("concat" in symbol for symbol in symbols)
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    actual = compiled.run({"x": x})["y"]
    assert np.abs(expected).max() > 1
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()

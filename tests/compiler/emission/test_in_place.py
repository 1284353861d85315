"""Concatenations and slices without copies, all the way through the library, at offsets that no vector divides."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import tilewright
from onnx import helper
from small_models import model, node


def assert_as_onnxruntime(proto: onnx.ModelProto, compiled: tilewright.CompiledModel, x: np.ndarray[Any, Any]) -> None:
    (expected,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})
    actual = compiled.run({"x": x})["y"]
    assert np.abs(expected).max() > 1
    assert np.abs(actual - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.sweep(3)
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
    assert_as_onnxruntime(proto, compiled, x)


@pytest.mark.sweep(3)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("width", [5, 32])
def test_split_transform_merge(width: int, threads: int) -> None:
    """Half of a tensor goes through convolutions, every stage of which is joined: two convolutions read half."""
    rng = np.random.default_rng(1)
    weights = {
        "w": (rng.standard_normal((2 * width, 16, 1, 1)) / 4).astype(np.float32),
        "w1": (rng.standard_normal((width, width, 3, 3)) / np.sqrt(9 * width)).astype(np.float32),
        "wd": (rng.standard_normal((width, 1, 5, 5)) / 5).astype(np.float32),
        "wy": (rng.standard_normal((8, 4 * width, 1, 1)) / np.sqrt(4 * width)).astype(np.float32),
        "sizes": np.array([width, width], np.int64),
    }
    proto = model(
        [
            node("Conv", ["x", "w"], "a", "enter"),
            node("Relu", ["a"], "ar", "enter relu"),
            helper.make_node("Split", ["ar", "sizes"], ["left", "right"], "split", axis=1),
            node("Conv", ["right", "w1"], "b", "three", pads=[1, 1, 1, 1]),
            node("Sigmoid", ["b"], "bs", "gate"),
            node("Add", ["bs", "right"], "c", "residual"),
            node("Conv", ["c", "wd"], "d", "depthwise", pads=[2, 2, 2, 2], group=width),
            node("Concat", ["left", "right", "c", "d"], "whole", "join", axis=1),
            node("Conv", ["whole", "wy"], "y", "last"),
        ],
        {"x": ("float32", (1, 16, 20, 20))},
        {"y": ("float32", (1, 8, 20, 20))},
        weights,
    )
    x = rng.standard_normal((1, 16, 20, 20)).astype(np.float32)
    compiled = tilewright.compile(proto, threads=threads)
    symbols = [kernel.symbol for kernel in compiled.signature.kernels]
    assert not any(copy in symbol for symbol in symbols for copy in ("concat", "slice", "split"))
    assert_as_onnxruntime(proto, compiled, x)

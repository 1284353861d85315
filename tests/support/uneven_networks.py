"""Networks whose channels differ in size, and samples whose channels depend on each other, as those of real data do."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
from small_models import model, node


def floats(rng: Any, *shape: int) -> np.ndarray[Any, Any]:
    return (rng.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:])))).astype("f4")


# Of the tensors c0 and c1: r0 and r1.
ACTIVATIONS: dict[str, Callable[[int], list[onnx.NodeProto]]] = {
    "ReLU": lambda at: [node("Relu", [f"c{at}"], f"r{at}", f"relu{at}")],
    "ReLU6": lambda at: [node("Clip", [f"c{at}", "zero", "most"], f"r{at}", f"relu{at}")],
    "swish": lambda at: [
        node("HardSigmoid", [f"c{at}"], f"s{at}", f"gate{at}"),
        node("Mul", [f"c{at}", f"s{at}"], f"r{at}", f"swish{at}"),
    ],
}


@cache
def separable(spread: float, activation: str = "ReLU") -> onnx.ModelProto:
    """A depthwise convolution between two pointwise ones, whose channels differ in size by so many orders."""
    rng = np.random.default_rng(1)
    one, two = (np.power(10, rng.uniform(-spread, spread, 24)).astype("f4") for _ in range(2))
    weights = {
        "w0": floats(rng, 24, 8, 1, 1) * one[:, None, None, None],
        "b0": 0.2 * floats(rng, 24) * one,
        "w1": floats(rng, 24, 1, 3, 3) * (two / one)[:, None, None, None],
        "w2": floats(rng, 16, 24, 1, 1) / two[None, :, None, None],
        "zero": np.float32(0),
        "most": np.float32(20),
    }
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "expand"),
            *ACTIVATIONS[activation](0),
            node("Conv", ["r0", "w1"], "c1", "deep", group=24, pads=[1, 1, 1, 1]),
            *ACTIVATIONS[activation](1),
            node("Conv", ["r1", "w2"], "y", "project"),
        ],
        {"x": ("float32", (1, 8, 8, 8))},
        {"y": ("float32", (1, 16, 8, 8))},
        weights,
    )


@cache
def block(outliers: float = 60.0) -> onnx.ModelProto:
    """Products behind a norm and behind a GELU, each of which makes a few channels so much larger than others."""
    rng = np.random.default_rng(2)
    gamma, inner = np.ones(48, "f4"), np.ones(64, "f4")
    gamma[[3, 17, 40]] = inner[[5, 50]] = outliers
    weights = {
        "g": gamma,
        "h": 0.1 * floats(rng, 48),
        "w0": floats(rng, 64, 48) / np.sqrt(gamma) * inner[:, None],
        "w1": floats(rng, 48, 64) / inner,
    }
    return model(
        [
            node("LayerNormalization", ["x", "g", "h"], "n", "norm"),
            node("Gemm", ["n", "w0"], "a", "up", transB=1),
            node("Gelu", ["a"], "t", "gelu"),
            node("Gemm", ["t", "w1"], "y", "down", transB=1),
        ],
        {"x": ("float32", (24, 48))},
        {"y": ("float32", (24, 48))},
        weights,
    )


def samples(made: onnx.ModelProto, count: int = 24) -> list[dict[str, Any]]:
    """Whose channels depend on each other, and whose neighbours are alike, as those of real data are."""
    shape = [each.dim_value for each in made.graph.input[0].type.tensor_type.shape.dim]
    rng, channels = np.random.default_rng(3), shape[1]
    mixing = rng.standard_normal((channels // 4, channels)) / np.sqrt(channels // 4)

    def drawn() -> np.ndarray[Any, Any]:
        if len(shape) == 2:
            rows = rng.standard_normal((shape[0], channels // 4)) @ mixing
        else:
            rows = np.einsum("nrhw,rc->nchw", rng.standard_normal((1, channels // 4, 4, 4)), mixing)
            rows = rows.repeat(2, axis=2).repeat(2, axis=3)
        return rows + 0.1 * rng.standard_normal(rows.shape)

    return [{"x": drawn().astype("f4")} for _ in range(count)]

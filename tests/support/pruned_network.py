"""A network that loses channels and weights in tests, and samples of its inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from small_models import model, node


def array(*shape: int) -> Any:
    scale = np.sqrt(max(1, int(np.prod(shape[1:])))) if len(shape) > 1 else 10.0
    return (np.random.default_rng([5, *shape]).standard_normal(shape) / scale).astype(np.float32)


def network() -> onnx.ModelProto:
    """A bias in the node, one in a batch norm, one behind a product; what layers read is of few dimensions."""
    return model(
        [
            node("Conv", ["x", "w0", "b0"], "c0", "stem", pads=[1, 1, 1, 1]),
            node("Relu", ["c0"], "r0", "relu0"),
            node("Conv", ["r0", "w1"], "c1", "middle", pads=[1, 1, 1, 1]),
            node("BatchNormalization", ["c1", "scale", "shift", "mean", "variance"], "n1", "norm"),
            node("Relu", ["n1"], "r1", "relu1"),
            node("GlobalAveragePool", ["r1"], "g", "pool"),
            node("Flatten", ["g"], "f", "flat"),
            node("Gemm", ["f", "w2", "b2"], "h", "hidden", transB=1),
            node("Relu", ["h"], "r2", "relu2"),
            node("MatMul", ["r2", "w3"], "m", "head"),
            node("Add", ["m", "b3"], "y", "bias"),
        ],
        {"x": ("float32", (1, 2, 6, 6))},
        {"y": ("float32", (1, 4))},
        {
            "w0": array(16, 2, 3, 3),
            "b0": array(16),
            "w1": array(32, 16, 3, 3),
            "w2": array(32, 32),
            "b2": array(32),
            "w3": array(32, 4),
            "b3": array(4),
            "scale": 1 + array(32),
            "shift": array(32),
            "mean": array(32),
            "variance": (1 + array(32) ** 2).astype(np.float32),
        },
    )


def samples(count: int = 48) -> list[dict[str, Any]]:
    return [
        {"x": np.random.default_rng(seed).standard_normal((1, 2, 6, 6)).astype(np.float32)} for seed in range(count)
    ]


def told(stage: str, done: int, total: int) -> None:
    """Progress that nobody watches."""

"""Libraries of `compile --quantize WAY` are held to the model with the same integers, whatever those change."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from small_models import model, node
from tilewright.compiler.runners.local import LocalRunner

RNG = np.random.default_rng(5)
WEIGHTS = {f"w{i}": (RNG.standard_normal((256, 256)) / 2).astype("f4") for i in range(2)}


def classifier() -> onnx.ModelProto:
    """Two products and a softmax that is sure of itself."""
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("Gemm", ["b", "w1"], "c", "second", transB=1),
            node("Softmax", ["c"], "y", "softmax"),
        ],
        {"x": ("float32", ("N", 256))},
        {"y": ("float32", ("N", 256))},
        WEIGHTS,
    )


class Distorted(LocalRunner):
    """Gives another result than the library."""

    def run(self, library: Any, inputs: Any) -> dict[str, Any]:
        return {name: value * np.float32(1.001) for name, value in super().run(library, inputs).items()}


@pytest.mark.parametrize("way", ["weights-int4", "dynamic"])
def test_of_a_range(way: str) -> None:
    proto = classifier()
    library = tilewright.compile(proto, ranges={"N": (1, 3)}, best={"N": (1,)}, quantize=way, threads=1)
    result = tilewright.verify(library, proto)
    assert result and result.reference.endswith(f"on the model with {way}")
    if way == "weights-int4":
        assert result.rtol == 1e-4
        # A class that was sure is another one: what the weights do, and no fault of the library.
        assert any("weights-int4 by itself changes it by" in each for each in result.warnings)
        assert not tilewright.verify(library, proto, runs=1, runner=Distorted())


def test_weights_of_another_model() -> None:
    proto, other = classifier(), classifier()
    other.graph.initializer[0].raw_data = (WEIGHTS["w0"] * np.float32(1.05)).tobytes()
    library = tilewright.compile(proto, shapes={"x": (1, 256)}, quantize="weights-int8", threads=1)
    assert tilewright.verify(library, proto, runs=1)
    assert not tilewright.verify(library, other, runs=1)

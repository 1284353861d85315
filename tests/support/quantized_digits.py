"""Networks that are quantized once for all tests of a process: the example's digits, and three products."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import tilewright
from small_models import model, node
from tilewright.compiler.calibration.findings import Findings
from tilewright.compiler.calibration.quantize import quantize
from tilewright.compiler.calibration.request import Request
from tilewright.compiler.options import CompileOptions

MODELS = Path(tilewright.__file__).parent / "examples" / "models"
DIGITS = MODELS / "digits_cnn.onnx"
# Whatever the machine is, all layers of it that a unit takes are integers.
OPTIONS = CompileOptions(threads=1)
ALWAYS = ("place_pairs{always=True}",)


def dense_network() -> onnx.ModelProto:
    """Three products with what stands between them: a compile takes a moment."""
    rng = np.random.default_rng(5)
    weights = {f"w{i}": (rng.standard_normal((32, 32)) / 6).astype("f4") for i in range(3)}
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("Gemm", ["b", "w1", "c1"], "c", "second"),
            node("Tanh", ["c"], "d", "tanh"),
            node("MatMul", ["d", "w2"], "y", "third"),
        ],
        {"x": ("float32", (4, 32))},
        {"y": ("float32", (4, 32))},
        {**weights, "c1": rng.standard_normal(32).astype("f4")},
    )


DENSE = dense_network()
SAMPLES = np.random.default_rng(6).standard_normal((12, 4, 32)).astype("f4")


@cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images and what they show."""
    with np.load(MODELS / "digits_test.npz") as data:
        return data["images"].reshape(-1, 1, 8, 8).astype("f4"), data["labels"].reshape(-1)


@cache
def quantized() -> Findings:
    """What quantizing the digits' network finds by the first 80 images."""
    images, _ = digits()
    return quantize(DIGITS, images[:80], Request(OPTIONS, always=True))


@cache
def library() -> tilewright.CompiledModel:
    """That network in integers."""
    return tilewright.compile(DIGITS, recipe=quantized().recipe, passes=ALWAYS, threads=1)

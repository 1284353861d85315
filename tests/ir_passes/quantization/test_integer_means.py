"""integer_means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from relax_models import assert_same_ir, build, evaluate, op
from small_models import model, node
from tilewright.compiler.build import build as compile_
from tilewright.compiler.options import CompileOptions
from tilewright.ir_passes import IntegerMeans
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize
from tvm import relax

RNG = np.random.default_rng(0)
SCALE, ZERO, NONE = relax.const(0.25, "float32"), relax.const(7, "uint8"), relax.const(0, "int32")
SHAPE = (1, 5, 7, 8)
DATA = {"q": (SHAPE, "uint8")}


def mean(emit: Any, q: Any) -> Any:
    return emit(op.mean(emit(dequantize(q, SCALE, ZERO)), [1, 2], True))


def test_a_mean_is_a_sum_of_integers() -> None:
    def expected(emit: Any, q: Any) -> Any:
        sums = emit(op.sum(emit(op.astype(q, "int32")), [1, 2], True))
        less = emit(op.subtract(sums, relax.const(7 * 35, "int32")))
        return emit(dequantize(less, constant(np.asarray(np.float32(0.25) / np.float32(35))), NONE))

    after = IntegerMeans()(build(DATA, mean)).module
    assert_same_ir(after, build(DATA, expected))
    q = RNG.integers(0, 256, SHAPE).astype("uint8")
    np.testing.assert_allclose(evaluate(after, [q])[0], evaluate(build(DATA, mean), [q])[0], rtol=1e-6)


@pytest.mark.parametrize("scale", [np.full(8, 0.5, "float32"), None])
def test_scales_of_channels_and_sums_that_would_wrap_stay_floats(scale: Any) -> None:
    shape = SHAPE if scale is not None else (1, 4096, 4096, 1)
    factor = SCALE if scale is None else constant(scale)

    def body(emit: Any, q: Any) -> Any:
        return emit(op.mean(emit(dequantize(q, factor, ZERO)), [1, 2], True))

    assert not IntegerMeans()(build({"q": (shape, "uint8")}, body)).modified


def test_nothing_is_stored_in_floats(tmp_path: Path) -> None:
    """What a pool reads is as large as its integers: the plan has no tensor of 4 bytes an element."""
    proto = model(
        [
            node("DequantizeLinear", ["q", "s", "z"], "x", "dequantize"),
            node("GlobalAveragePool", ["x"], "y", "pool"),
        ],
        {"q": ("int8", (1, 40, 9, 11))},
        {"y": ("float32", (1, 40, 1, 1))},
        {"s": np.float32(0.1), "z": np.int8(-5)},
    )
    made = compile_(proto, tmp_path / "net.so", CompileOptions(threads=1, jobs=1, name="net"))
    q = RNG.integers(-128, 128, (1, 40, 9, 11)).astype("int8")

    actual = tilewright.load(tmp_path / "net.so").run({"q": q})["y"]
    np.testing.assert_allclose(actual[0, :, 0, 0], 0.1 * (q.astype("f8") + 5).mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    assert made.plan is not None and made.plan.workspace_bytes < 4 * 40 * 99

"""quantize_weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, build, op
from tilewright.ir_passes import QuantizeWeights
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize
from tilewright.ir_passes.quantization.quantize_weights import rounded
from tvm import relax

SHAPE = {"x": (2, 80)}
WEIGHTS = np.random.default_rng(0).standard_normal((80, 60)).astype("float32")


def dense(emit: Any, x: Any) -> Any:
    return emit(op.matmul(x, constant(WEIGHTS)))


@pytest.mark.parametrize(("bits", "block"), [(8, 0), (4, 32), (4, 16)])
def test_a_dense_layer(bits: int, block: int) -> None:
    size = block or 80
    whole = np.zeros((-(-80 // size) * size, 60), "float32")
    whole[:80] = WEIGHTS
    integers, scale = rounded(whole.reshape(-1, size, 60), bits)

    def body(emit: Any, x: Any) -> Any:
        rows = scale.reshape(-1, 60)
        rows = rows if len(rows) == 1 else rows[np.arange(80) // size]
        q = integers.reshape(-1, 60)[:80]
        return emit(op.matmul(x, emit(dequantize(constant(q), constant(rows), relax.const(0, "int32")))))

    assert_same_ir(QuantizeWeights(bits, block)(build(SHAPE, dense)).module, build(SHAPE, body))


@pytest.mark.parametrize(("bits", "most"), [(8, 0.007), (4, 0.1)])
def test_the_error_is_that_of_the_bits(bits: int, most: float) -> None:
    """And never more than by the scale that holds the largest weight; zeros stay zeros."""
    weights = WEIGHTS.reshape(5, 16, 60).copy()
    weights[0, :, 0] = 0
    integers, scale = rounded(weights, bits)
    error = np.sqrt(np.square(integers * scale - weights).mean() / np.square(weights).mean())
    assert error < most
    assert (np.abs(integers.astype("int32") + 0.5) <= 1 << (bits - 1)).all()
    assert not integers[0, :, 0].any()
    plain = np.abs(weights).max(1, keepdims=True) / ((1 << (bits - 1)) - 1)
    plain[plain == 0] = 1
    assert error <= np.sqrt(np.square(np.rint(weights / plain) * plain - weights).mean() / np.square(weights).mean())


def test_what_stays() -> None:
    module = build(SHAPE, dense)
    assert not QuantizeWeights(gains=lambda call: False)(module).modified
    small = build(SHAPE, lambda emit, x: emit(op.matmul(x, constant(WEIGHTS[:, :8]))))
    infinite = build(SHAPE, lambda emit, x: emit(op.matmul(x, constant(WEIGHTS * np.float32(np.inf)))))
    for each in (small, infinite):
        assert not QuantizeWeights()(each).modified

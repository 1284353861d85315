"""requantize_sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, build, evaluate, op
from tilewright.ir_passes import RequantizeSums
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize, quantize, requantize
from tvm import relax

RNG = np.random.default_rng(0)
SCALES = RNG.uniform(0.001, 0.01, 8).astype("float32")
BIAS = RNG.integers(-9999, 9999, (1, 1, 8)).astype("int32")
RESULT, ZERO, NONE = relax.const(0.5, "float32"), relax.const(7, "int32"), relax.const(0, "int32")
WEIGHTS = constant(RNG.integers(-128, 128, (16, 8)).astype("int8"))
DATA = {"q": ((2, 5, 16), "uint8")}
SUMS = {"sums": ((2, 5, 8), "int32")}


def test_a_bias_and_a_clip_between_sums_and_integers() -> None:
    def before(emit: Any, q: Any) -> Any:
        sums = emit(op.matmul(q, WEIGHTS, "int32"))
        bias = emit(dequantize(constant(BIAS), constant(SCALES * np.float32(1 + 1e-7)), NONE))
        whole = emit(op.add(emit(dequantize(sums, constant(SCALES), NONE)), bias))
        return emit(quantize(emit(op.clip(whole, 0, 6)), RESULT, ZERO, "uint8"))

    def expected(emit: Any, q: Any) -> Any:
        sums = emit(op.matmul(q, WEIGHTS, "int32"))
        whole = emit(op.add(sums, constant(BIAS)))
        return emit(requantize(whole, constant(SCALES / np.float32(0.5)), ZERO, "uint8", 7, 19))

    after = RequantizeSums()(build(DATA, before)).module
    assert_same_ir(after, build(DATA, expected))
    q = RNG.integers(0, 256, (2, 5, 16)).astype("uint8")
    given = evaluate(build(DATA, before), [q])[0]
    assert set(np.unique(given)) >= {7, 19}
    # Two scales are one multiplier: a sum may be rounded the other way where it is half-way.
    assert (evaluate(after, [q])[0] != given).mean() < 0.05


def test_constants_are_added_once() -> None:
    def before(emit: Any, sums: Any) -> Any:
        return emit(op.add(emit(op.add(sums, constant(BIAS))), constant(BIAS)))

    expected = build(SUMS, lambda emit, sums: emit(op.add(sums, constant(BIAS + BIAS))))
    assert_same_ir(RequantizeSums()(build(SUMS, before)).module, expected)


def test_relu_of_floats_is_a_bound() -> None:
    shape = {"x": (3, 8)}
    before = build(shape, lambda emit, x: emit(quantize(emit(op.nn.relu(x)), RESULT, ZERO, "uint8")))
    expected = build(shape, lambda emit, x: emit(quantize(x, RESULT, ZERO, "uint8", 7)))
    assert_same_ir(RequantizeSums()(before).module, expected)


@pytest.mark.parametrize(("bias", "scale"), [(2**31 - 40000, SCALES), (7, SCALES[:, None])])
def test_a_bias_that_would_wrap_or_has_scales_of_rows_is_added_to_floats(bias: int, scale: Any) -> None:
    def body(emit: Any, q: Any) -> Any:
        sums = emit(dequantize(emit(op.matmul(q, WEIGHTS, "int32")), constant(SCALES), NONE))
        known = constant(np.full((8, 1) if scale.ndim > 1 else (8,), bias, "int32"))
        return emit(op.add(sums, emit(dequantize(known, constant(scale), NONE))))

    assert not RequantizeSums()(build({"q": ((8, 16), "uint8")}, body)).modified


def test_a_bias_of_another_scale_and_sums_that_others_read_stay_floats() -> None:
    def other_scale(emit: Any, sums: Any) -> Any:
        bias = emit(dequantize(constant(BIAS), constant(SCALES * np.float32(1.01)), NONE))
        return emit(op.add(emit(dequantize(sums, constant(SCALES), NONE)), bias))

    def two_readers(emit: Any, sums: Any) -> Any:
        floats = emit(dequantize(sums, constant(SCALES), NONE))
        return emit(quantize(floats, RESULT, ZERO, "uint8")), emit(op.negative(floats))

    for body in (other_scale, two_readers):
        assert not RequantizeSums()(build(SUMS, body)).modified

"""integer_products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, build, evaluate, op
from tilewright.ir_passes import IntegerProducts
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize
from tvm import relax

RNG = np.random.default_rng(0)
SX, ZERO = relax.const(0.25, "float32"), relax.const(0, "int32")
LAYOUT = {"data_layout": "NHWC", "kernel_layout": "OHWI"}


def number(value: int) -> Any:
    return relax.const(value, "int32")


def test_a_product_of_dequantized_matrices() -> None:
    w, s = RNG.integers(-128, 128, (16, 24)).astype("int8"), RNG.uniform(0.1, 1, (24,)).astype("float32")
    weights = dequantize(constant(w), constant(s), ZERO)
    shape = {"q": ((4, 16), "uint8")}
    before = build(shape, lambda emit, q: emit(op.matmul(emit(dequantize(q, SX, number(7))), emit(weights))))

    def body(emit: Any, q: Any) -> Any:
        sums = emit(op.matmul(q, constant(w), "int32"))
        sums = emit(op.add(sums, constant((-7 * w.astype("int32").sum(0)).astype("int32"))))
        return emit(dequantize(sums, constant(np.float32(0.25) * s), ZERO))

    after = IntegerProducts()(before).module
    assert_same_ir(after, build(shape, body))
    q = RNG.integers(0, 256, (4, 16)).astype("uint8")
    exact = ((q.astype("f8") - 7) * 0.25) @ (w * s.astype("f8"))
    np.testing.assert_allclose(evaluate(after, [q])[0], exact, rtol=3e-7)


@pytest.mark.parametrize(("dtype", "zero"), [("uint8", 0), ("uint8", 9), ("int8", -128), ("int8", 5)])
def test_a_convolution_pads_with_the_zero_point(dtype: str, zero: int) -> None:
    w = RNG.integers(-128, 128, (8, 3, 3, 4)).astype("int8")
    weights = dequantize(constant(w), relax.const(0.5, "float32"), ZERO)
    shape = {"q": ((1, 6, 6, 4), dtype)}

    def before(emit: Any, q: Any) -> Any:
        return emit(op.nn.conv2d(emit(dequantize(q, SX, number(zero))), emit(weights), padding=1, **LAYOUT))

    def body(emit: Any, q: Any) -> Any:
        shift = 128 if dtype == "int8" else 0
        if shift:
            q = emit(op.bitwise_xor(emit(op.astype(q, "uint8")), constant(np.asarray(128, "uint8"))))
        padding = 1
        if zero + shift:
            q, padding = emit(op.nn.pad(q, [0, 0, 1, 1, 1, 1, 0, 0], pad_value=float(zero + shift))), 0
        sums = emit(op.nn.conv2d(q, constant(w), padding=padding, out_dtype="int32", **LAYOUT))
        if zero + shift:
            sums = emit(op.add(sums, constant((-(zero + shift) * w.astype("int32").sum((1, 2, 3))).astype("int32"))))
        return emit(dequantize(sums, constant(np.float32(0.125)), ZERO))

    assert_same_ir(IntegerProducts()(build(shape, before)).module, build(shape, body))


@pytest.mark.parametrize("rows", [66_000, 67_000])
def test_sums_that_could_be_beyond_int32_stay_floats(rows: int) -> None:
    weights = dequantize(constant(np.full((rows, 2), 127, "int8")), relax.const(0.5, "float32"), ZERO)
    shape = {"q": ((1, rows), "uint8")}
    before = build(shape, lambda emit, q: emit(op.matmul(emit(dequantize(q, SX, number(7))), emit(weights))))
    assert IntegerProducts()(before).modified == (rows * 255 * 127 < 2**31)


def test_integers_less_a_zero_point_that_is_not_known() -> None:
    w = RNG.integers(-128, 128, (16, 24)).astype("int32")
    shapes = {"q": ((4, 16), "uint8"), "z": ((), "int32")}

    def before(emit: Any, q: Any, z: Any) -> Any:
        return emit(op.matmul(emit(op.subtract(emit(op.astype(q, "int32")), z)), constant(w)))

    def body(emit: Any, q: Any, z: Any) -> Any:
        sums = emit(op.matmul(q, constant(w.astype("int8")), "int32"))
        return emit(op.subtract(sums, emit(op.multiply(z, constant(w.sum(0).astype("int32"))))))

    after = IntegerProducts()(build(shapes, before)).module
    assert_same_ir(after, build(shapes, body))
    q, z = RNG.integers(0, 256, (4, 16)).astype("uint8"), np.asarray(77, "int32")
    np.testing.assert_array_equal(evaluate(after, [q, z])[0], (q.astype("int32") - 77) @ w)


def test_what_stays() -> None:
    """Floats, integers that 8 bits do not hold, and scales along the sum."""
    w = RNG.integers(-128, 128, (16, 24)).astype("int8")
    shape = {"q": ((4, 16), "uint8")}

    def product(weights: Any) -> Any:
        return build(shape, lambda emit, q: emit(op.matmul(emit(dequantize(q, SX, ZERO)), weights(emit))))

    rows = constant(np.arange(1, 17, dtype="float32").reshape(16, 1))
    for weights in (
        lambda _: constant(w.astype("float32")),
        lambda emit: emit(dequantize(constant(w), rows, ZERO)),
        lambda emit: emit(dequantize(constant(w.astype("int16")), SX, ZERO)),
    ):
        assert not IntegerProducts()(product(weights)).modified

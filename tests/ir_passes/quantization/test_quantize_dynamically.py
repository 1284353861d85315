"""quantize_dynamically."""

from __future__ import annotations

from typing import Any

import numpy as np
from relax_models import assert_same_ir, build, evaluate, op
from tilewright.ir_passes import IntegerProducts, QuantizeDynamically
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize, quantize
from tilewright.ir_passes.dialect.quantized_arithmetic import dequantized, quantized, row_scale
from tilewright.ir_passes.quantization.quantize_weights import rounded
from tvm import relax

RNG = np.random.default_rng(0)
SHAPE = {"x": (3, 5, 80)}
WEIGHTS = [RNG.standard_normal((80, 60)).astype("float32") for _ in range(2)]
ZERO, MIDDLE = relax.const(0, "int32"), relax.const(128, "int32")


def two_layers(emit: Any, x: Any) -> Any:
    return [emit(op.matmul(x, constant(each))) for each in WEIGHTS]


def test_layers_that_read_the_same() -> None:
    def body(emit: Any, x: Any) -> Any:
        largest = emit(op.max(emit(op.abs(x)), -1, keepdims=True))
        scale = emit(op.multiply(largest, constant(np.asarray(1 / 127, "float32"))))
        rows = emit(dequantize(emit(quantize(x, scale, MIDDLE, "uint8", 1, 255)), scale, MIDDLE))
        results = []
        for each in WEIGHTS:
            integers, columns = rounded(each[None], 8)
            right = emit(dequantize(constant(integers[0]), constant(columns[0]), ZERO))
            results.append(emit(op.matmul(rows, right)))
        return results

    assert_same_ir(QuantizeDynamically()(build(SHAPE, two_layers)).module, build(SHAPE, body))


def test_the_products_are_numpys_bit_for_bit() -> None:
    """A row of zeros, and one that has infinity, among the others."""
    module = IntegerProducts()(QuantizeDynamically()(build(SHAPE, two_layers)).module).module
    x = (RNG.standard_normal((3, 5, 80)) * RNG.uniform(1e-3, 1e3, (3, 5, 1))).astype("float32")
    x[0, 0], x[1, 1, 7] = 0, np.inf
    scale = row_scale(x)
    integers = quantized(x, scale, np.asarray(128), "uint8", 1, 255).astype("int32") - 128
    finite = np.isfinite(scale[..., 0])
    for actual, weights in zip(evaluate(module, [x]), WEIGHTS, strict=True):
        w, columns = rounded(weights[None], 8)
        sums = integers @ w[0].astype("int32")
        expected = dequantized(sums, scale * columns[0], np.asarray(0), "float32")
        np.testing.assert_array_equal(actual[finite], expected[finite])
        assert not np.isfinite(actual[~finite]).any()
        assert not actual[0, 0].any()
        exact = x[finite].astype("f8") @ weights
        assert np.abs(actual[finite] - exact).max() <= 0.02 * np.abs(exact).max()


def test_what_does_not_gain_stays() -> None:
    assert not QuantizeDynamically(lambda call: False)(build(SHAPE, two_layers)).modified

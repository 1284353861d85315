"""weight_products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op
from tilewright.ir_passes import WeightProducts
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize
from tilewright.ir_passes.dialect.weight_product import weight_product
from tvm import relax

RNG = np.random.default_rng(0)
ZERO = relax.const(0, "int32")
SHAPE = {"x": (2, 48)}


def scales(*shape: int) -> Any:
    return RNG.uniform(0.1, 1, shape).astype("float32")


def test_a_scale_for_each_column() -> None:
    w, s = RNG.integers(-128, 128, (48, 24)).astype("int8"), scales(24)
    weights = dequantize(constant(w), constant(s), relax.const(3, "int32"))
    before = build(SHAPE, lambda emit, x: emit(op.matmul(x, emit(weights))))

    def body(emit: Any, x: Any) -> Any:
        zero = constant(np.full((1, 24), 3, "int32"))
        return emit(weight_product(x, constant(w), constant(s[None]), zero, bits=8, block=48))

    after = WeightProducts()(before).module
    assert_same_ir(after, build(SHAPE, body))
    assert_same_numbers(before, after)


def test_blocks_of_a_transposed_matrix() -> None:
    """(columns, blocks, block) -> (columns, depth) -> (depth, columns), as DequantizeLinear and Transpose have them."""
    w, s = RNG.integers(0, 16, (24, 3, 16)).astype("uint8"), scales(24, 3, 1)
    z = RNG.integers(0, 16, (24, 3, 1)).astype("int32")

    def before(emit: Any, x: Any) -> Any:
        floats = emit(dequantize(constant(w), constant(s), constant(z)))
        return emit(op.matmul(x, emit(op.permute_dims(emit(op.reshape(floats, (24, 48)))))))

    def body(emit: Any, x: Any) -> Any:
        arrays = (w.reshape(24, 48).T, s[..., 0].T, z[..., 0].T)
        return emit(weight_product(x, *map(constant, arrays), bits=4, block=16))

    module = build(SHAPE, before)
    after = WeightProducts()(module).module
    assert_same_ir(after, build(SHAPE, body))
    assert_same_numbers(module, after)


@pytest.mark.parametrize("gains", [True, False])
def test_what_stays(gains: bool) -> None:
    """What does not gain by it; integers on both sides; blocks that no words hold; zero points beyond a byte."""
    w = RNG.integers(-128, 128, (48, 24)).astype("int8")
    column, odd = constant(scales(24)), constant(np.repeat(scales(16, 24), 3, 0))
    pair = dequantize(constant(w), column, ZERO)
    far = dequantize(constant(w), column, relax.const(200, "int32"))
    products = [
        build({"x": (0, 48)}, lambda emit, x: emit(op.matmul(x, emit(pair)))),
        build(SHAPE, lambda emit, x: emit(op.matmul(x, emit(dequantize(constant(w), odd, ZERO))))),
        build(SHAPE, lambda emit, x: emit(op.matmul(x, emit(far)))),
        build(
            {"q": ((2, 48), "uint8")},
            lambda emit, q: emit(op.matmul(emit(dequantize(q, relax.const(0.5, "float32"), ZERO)), emit(pair))),
        ),
    ]
    if not gains:
        products = [build(SHAPE, lambda emit, x: emit(op.matmul(x, emit(pair))))]
    for module in products:
        assert not WeightProducts(lambda call: gains)(module).modified

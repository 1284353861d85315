"""cast_operands."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, evaluate, op, random_inputs, weights
from tilewright.ir_passes import CastOperands
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.dialect.attention import attention
from tvm import relax

W = weights(16, 24)
ALWAYS = CastOperands("bfloat16", lambda call: True)


def narrow(array: Any) -> Any:
    return constant(array_of(array).astype(ml_dtypes.bfloat16))


def test_a_product_multiplies_casts_and_sums_in_float32() -> None:
    before = build({"x": (4, 16)}, lambda emit, x: emit(op.nn.relu(emit(op.matmul(x, W)))))
    expected = build(
        {"x": (4, 16)},
        lambda emit, x: emit(
            op.nn.relu(emit(op.matmul(emit(op.astype(x, "bfloat16")), narrow(W), out_dtype="float32")))
        ),
    )
    after = ALWAYS(before).module
    assert_same_ir(after, expected)
    (x,) = random_inputs(before)
    rounded = x.astype(ml_dtypes.bfloat16).astype("float64") @ array_of(W).astype(ml_dtypes.bfloat16).astype("float64")
    np.testing.assert_allclose(evaluate(after, [x])[0], np.maximum(rounded, 0), rtol=0, atol=1e-6)
    assert_same_numbers(before, after, tolerance=2e-2)


def test_a_convolution_and_an_operand_of_several_readers() -> None:
    w, layout = weights(8, 3, 3, 4), {"data_layout": "NHWC", "kernel_layout": "OHWI", "padding": (1, 1, 1, 1)}

    def body(cast: Any, w: Any, **more: Any) -> Any:
        def made(emit: Any, x: Any) -> Any:
            source = cast(emit, x)
            one, two = (emit(op.nn.conv2d(source, w, strides=s, **layout, **more)) for s in (1, 2))
            return one, two

        return made

    before = build({"x": (1, 6, 6, 4)}, body(lambda emit, x: x, w))
    expected = build(
        {"x": (1, 6, 6, 4)}, body(lambda emit, x: emit(op.astype(x, "bfloat16")), narrow(w), out_dtype="float32")
    )
    assert_same_ir(ALWAYS(before).module, expected)


def test_attention_keeps_its_mask_and_its_result() -> None:
    shapes = {"q": (1, 4, 2, 8), "k": (1, 6, 2, 8), "v": (1, 6, 2, 8), "m": (1, 1, 4, 6)}

    def body(cast: Any) -> Any:
        return lambda emit, q, k, v, m: emit(
            attention([*(cast(emit, each) for each in (q, k, v)), m], scale=0.5, nan_is_zero=False)
        )

    before = build(shapes, body(lambda emit, each: each))
    expected = build(shapes, body(lambda emit, each: emit(op.astype(each, "bfloat16"))))
    after = ALWAYS(before).module
    assert_same_ir(after, expected)
    assert str(after["main"].body.body.ty.fields[0].dtype) == "float32"


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32"])
def test_other_dtypes_stay(dtype: str) -> None:
    before = build({"x": ((4, 16), dtype), "y": ((16, 8), dtype)}, lambda emit, x, y: emit(op.matmul(x, y)))
    assert not ALWAYS(before).modified


def test_it_asks_with_the_call_as_it_would_be() -> None:
    asked: list[tuple[str, str]] = []

    def gains(call: relax.Call) -> bool:
        asked.append((str(call.args[0].ty.dtype), str(call.ty.dtype)))
        return len(asked) > 1

    before = build({"x": (4, 16)}, lambda emit, x: (emit(op.matmul(x, W)), emit(op.nn.relu(emit(op.matmul(x, W))))))
    after = CastOperands("bfloat16", gains)(before).module
    assert asked == [("bfloat16", "float32")] * 2
    assert after.script().count("astype") == 1

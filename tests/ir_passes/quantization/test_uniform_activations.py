"""uniform_activations."""

from __future__ import annotations

from typing import Any

import numpy as np
from relax_models import assert_same_ir, build, evaluate, op
from tilewright.ir_passes import UniformActivations
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize, quantize
from tvm import relax

S = relax.const(0.25, "float32")
Z = relax.const(-3, "int32")
SHIFTED = relax.const(125, "int32")


def test_a_pair_is_of_uint8() -> None:
    before = build({"x": (4, 6)}, lambda emit, x: emit(dequantize(emit(quantize(x, S, Z, "int8", -100)), S, Z)))
    expected = build(
        {"x": (4, 6)}, lambda emit, x: emit(dequantize(emit(quantize(x, S, SHIFTED, "uint8", 28)), S, SHIFTED))
    )
    after = UniformActivations()(before).module
    assert_same_ir(after, expected)
    x = np.linspace(-40, 40, 24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(*(evaluate(each, [x])[0] for each in (before, after)))


def test_what_others_read_is_made_int8_and_moves_first() -> None:
    flip = constant(np.asarray(128, "uint8"))

    def body(emit: Any, x: Any) -> Any:
        unsigned = emit(op.permute_dims(emit(quantize(x, S, SHIFTED, "uint8")), [1, 0]))
        return emit(op.astype(emit(op.bitwise_xor(unsigned, flip)), "int8"))

    before = build({"x": (4, 6)}, lambda emit, x: emit(op.permute_dims(emit(quantize(x, S, Z, "int8")), [1, 0])))
    after = UniformActivations()(before).module
    assert_same_ir(after, build({"x": (4, 6)}, body))
    x = np.linspace(-40, 40, 24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(*(evaluate(each, [x])[0] for each in (before, after)))


def test_uint8_stays() -> None:
    before = build({"x": (4, 6)}, lambda emit, x: emit(dequantize(emit(quantize(x, S, SHIFTED, "uint8")), S, SHIFTED)))
    assert not UniformActivations()(before).modified


def test_a_pair_is_of_int8_where_that_is_asked_for() -> None:
    before = build(
        {"x": (4, 6)}, lambda emit, x: emit(dequantize(emit(quantize(x, S, SHIFTED, "uint8", 28)), S, SHIFTED))
    )
    expected = build({"x": (4, 6)}, lambda emit, x: emit(dequantize(emit(quantize(x, S, Z, "int8", -100)), S, Z)))
    after = UniformActivations("int8")(before).module
    assert_same_ir(after, expected)
    x = np.linspace(-40, 40, 24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(*(evaluate(each, [x])[0] for each in (before, after)))


def test_what_others_read_is_made_uint8() -> None:
    before = build({"x": (4, 6)}, lambda emit, x: emit(op.permute_dims(emit(quantize(x, S, SHIFTED, "uint8")), [1, 0])))
    after = UniformActivations("int8")(before).module
    assert "int8" in after.script() and after["main"].ret_ty.fields[0].dtype == "uint8"
    x = np.linspace(-40, 40, 24, dtype="float32").reshape(4, 6)
    np.testing.assert_array_equal(*(evaluate(each, [x])[0] for each in (before, after)))

"""move_dequantize."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, build, op
from tilewright.ir_passes import MoveDequantize
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.dialect.quantize import dequantize, quantize
from tvm import relax

S, Z = relax.const(0.25, "float32"), relax.const(3, "int32")
OTHER = relax.const(0.5, "float32")
Q = {"q": ((1, 8, 8, 4), "uint8")}


def pooled(x: Any) -> Any:
    return op.nn.max_pool2d(x, (2, 2), (2, 2), layout="NHWC")


@pytest.mark.parametrize("move", [pooled, lambda x: op.reshape(x, (1, -1)), lambda x: op.permute_dims(x, [0, 3, 1, 2])])
def test_a_move_between_a_pair_moves_integers(move: Any) -> None:
    before = build(Q, lambda emit, q: emit(quantize(emit(move(emit(dequantize(q, S, Z)))), S, Z, "uint8")))
    assert_same_ir(MoveDequantize()(before).module, build(Q, lambda emit, q: emit(move(q))))


def test_what_gets_another_shape_is_quantized_before() -> None:
    """Where its floats are made, which nothing else reads; a scale of channels stays where it is."""
    shape = {"x": (2, 3, 8)}

    def before(scale: Any) -> Any:
        def body(emit: Any, x: Any) -> Any:
            return emit(quantize(emit(op.reshape(emit(op.nn.gelu(x)), (6, 8))), scale, Z, "uint8", 2))

        return body

    def after(emit: Any, x: Any) -> Any:
        return emit(op.reshape(emit(quantize(emit(op.nn.gelu(x)), S, Z, "uint8", 2)), (6, 8)))

    assert_same_ir(MoveDequantize()(build(shape, before(S))).module, build(shape, after))
    channels = relax.const(np.full((8,), 0.5, "float32"))
    assert not MoveDequantize()(build(shape, before(channels))).modified


@pytest.mark.parametrize("choice", [pooled, lambda x: op.max(x, [1, 2])])
def test_the_largest_by_a_negative_scale_is_chosen_among_floats(choice: Any) -> None:
    before = build(Q, lambda emit, q: emit(choice(emit(dequantize(q, relax.const(-0.25, "float32"), Z)))))
    assert not MoveDequantize()(before).modified


def test_another_scale_or_range_is_computed() -> None:
    for again in (
        lambda x: quantize(x, OTHER, Z, "uint8"),
        lambda x: quantize(x, S, Z, "uint8", 3),
        lambda x: quantize(x, S, Z, "int8"),
    ):
        before = build(Q, lambda emit, q, again=again: emit(again(emit(dequantize(q, S, Z)))))
        assert not MoveDequantize()(before).modified


def test_a_concatenation_of_one_scale_is_of_integers() -> None:
    def parts(one: Any, other: Any) -> Any:
        return lambda emit, q: emit(op.concat([emit(dequantize(q, one, Z)), emit(dequantize(q, other, Z))], 3))

    expected = build(Q, lambda emit, q: emit(dequantize(emit(op.concat([q, q], 3)), S, Z)))
    assert_same_ir(MoveDequantize()(build(Q, parts(S, S))).module, expected)
    assert not MoveDequantize()(build(Q, parts(S, OTHER))).modified


def test_constants_take_their_scales_along() -> None:
    q = np.arange(24, dtype="int8").reshape(2, 3, 4, 1)
    s, z = np.float32([0.5, 2]).reshape(2, 1, 1, 1), np.zeros((), "int32")

    def body(order: list[int], shape: tuple[int, ...]) -> Any:
        return lambda emit: emit(
            op.reshape(emit(op.permute_dims(emit(dequantize(*map(constant, (q, s, z)))), order)), shape)
        )

    moved = constant(q.transpose(0, 2, 1, 3).reshape(2, 12))
    expected = build({}, lambda emit: emit(dequantize(moved, constant(s.reshape(2, 1)), constant(z.reshape(1, 1)))))
    assert_same_ir(MoveDequantize()(build({}, body([0, 2, 1, 3], (2, 12)))).module, expected)


def test_integers_less_their_zero_point_move_first() -> None:
    def before(emit: Any, q: Any) -> Any:
        centered = emit(op.subtract(emit(op.astype(q, "int32")), Z))
        return emit(op.permute_dims(centered, [0, 3, 1, 2]))

    def expected(emit: Any, q: Any) -> Any:
        moved = emit(op.permute_dims(q, [0, 3, 1, 2]))
        return emit(op.subtract(emit(op.astype(moved, "int32")), Z))

    assert_same_ir(MoveDequantize()(build(Q, before)).module, build(Q, expected))

"""fuse_silu."""

from __future__ import annotations

from typing import Any

from relax_models import assert_same_ir, assert_same_numbers, build, op
from tilewright.ir_passes import FuseSilu

_X = {"x": (2, 8)}


def test_either_order() -> None:
    expected = build(_X, lambda emit, x: emit(op.nn.silu(x)))
    right = build(_X, lambda emit, x: emit(op.multiply(x, emit(op.sigmoid(x)))))
    left = build(_X, lambda emit, x: emit(op.multiply(emit(op.sigmoid(x)), x)))
    for module in (left, right):
        assert_same_ir(FuseSilu()(module).module, expected)
    assert_same_numbers(left, FuseSilu()(left).module, tolerance=1e-6)


def test_a_gate_of_another_value_stays() -> None:
    def body(emit: Any, x: Any, y: Any) -> Any:
        return emit(op.multiply(x, emit(op.sigmoid(y))))

    assert not FuseSilu()(build({"x": (2, 8), "y": (2, 8)}, body)).modified

"""cse: equal computations are done once."""

from __future__ import annotations

from typing import Any

from relax_models import assert_same_ir, build, op, weights
from tilewright.ir_passes import Cse


def test_equal_calls_become_one() -> None:
    big = weights(64, 64)

    def before(emit: Any, x: Any) -> Any:
        left = emit(op.matmul(emit(op.nn.softmax(x, 1)), emit(op.permute_dims(big, [1, 0]))))
        right = emit(op.matmul(emit(op.nn.softmax(x, 1)), emit(op.permute_dims(big, [1, 0]))))
        return emit(op.add(left, right))

    def expected(emit: Any, x: Any) -> Any:
        left = emit(op.matmul(emit(op.nn.softmax(x, 1)), emit(op.permute_dims(big, [1, 0]))))
        return emit(op.add(left, left))

    assert_same_ir(Cse()(build({"x": (2, 64)}, before)).module, build({"x": (2, 64)}, expected))


def test_attributes_and_operands_tell_calls_apart() -> None:
    def body(emit: Any, x: Any) -> Any:
        a, b = emit(op.nn.softmax(x, 0)), emit(op.nn.softmax(x, 1))
        return (
            emit(op.subtract(a, b)),
            emit(op.subtract(b, a)),
            emit(op.add(x, weights(4, seed=1))),
            emit(op.add(x, weights(4, seed=2))),
        )

    assert not Cse()(build({"x": (4, 4)}, body)).modified

"""fuse_softmax."""

from __future__ import annotations

from typing import Any

import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op
from tilewright.ir_passes import FuseSoftmax

_X = {"x": (3, 5, 4)}


@pytest.mark.parametrize("axis", [1, -1])
def test_softmax(axis: int) -> None:
    def before(emit: Any, x: Any) -> Any:
        exponential = emit(op.exp(emit(op.subtract(x, emit(op.max(x, [axis], True))))))
        return emit(op.divide(exponential, emit(op.sum(exponential, [axis], True))))

    module = build(_X, before)
    after = FuseSoftmax()(module).module
    assert_same_ir(after, build(_X, lambda emit, x: emit(op.nn.softmax(x, axis % 3))))
    assert_same_numbers(module, after, tolerance=1e-6)


@pytest.mark.parametrize("axis", [0, [1, 2], None], ids=str)
def test_a_maximum_along_other_axes_stays(axis: Any) -> None:
    def body(emit: Any, x: Any) -> Any:
        exponential = emit(op.exp(emit(op.subtract(x, emit(op.max(x, axis, True))))))
        return emit(op.divide(exponential, emit(op.sum(exponential, [1], True))))

    assert not FuseSoftmax()(build(_X, body)).modified


def test_without_a_maximum_it_overflows_and_stays() -> None:
    def body(emit: Any, x: Any) -> Any:
        exponential = emit(op.exp(x))
        return emit(op.divide(exponential, emit(op.sum(exponential, [1], True))))

    assert not FuseSoftmax()(build(_X, body)).modified


def test_another_sum_stays() -> None:
    def body(emit: Any, x: Any) -> Any:
        exponential = emit(op.exp(x))
        return emit(op.divide(exponential, emit(op.sum(exponential, [1, 2], True))))

    assert not FuseSoftmax()(build(_X, body)).modified

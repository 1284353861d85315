"""canonicalize: each simplification, before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, hints, op
from tilewright.ir_passes import Canonicalize
from tilewright.ir_passes.core.constants import constant
from tvm import relax, tirx

_SHAPE = {"x": (2, 3, 4)}


def _full(value: float, *shape: int) -> Any:
    return constant(np.full(shape, value, np.float32))


def _clip(x: Any, low: float, high: float) -> Any:
    return op.clip(x, tirx.const(low, "float32"), tirx.const(high, "float32"))


_NOTHING: dict[str, Callable[..., Any]] = {
    "reshape to the same shape": lambda emit, x: emit(op.reshape(x, (2, 3, 4))),
    "there and back": lambda emit, x: emit(op.reshape(emit(op.reshape(x, (6, 4))), (2, 3, 4))),
    "two transposes": lambda emit, x: emit(op.permute_dims(emit(op.permute_dims(x, [1, 2, 0])), [2, 0, 1])),
    "add -0": lambda emit, x: emit(op.add(_full(-0.0, 4), x)),
    "subtract 0": lambda emit, x: emit(op.subtract(x, _full(0))),
    "times 1": lambda emit, x: emit(op.multiply(x, _full(1, 3, 1))),
    "over 1": lambda emit, x: emit(op.divide(x, _full(1))),
    "to the power of 1": lambda emit, x: emit(op.power(x, _full(1))),
    "cast to the same": lambda emit, x: emit(op.astype(x, "float32")),
    "cast up and down": lambda emit, x: emit(op.astype(emit(op.astype(x, "float64")), "float32")),
    "concat of one": lambda emit, x: emit(op.concat([x], 1)),
    "slice of all": lambda emit, x: emit(op.strided_slice(x, [1], [0], [3])),
    "pad by nothing": lambda emit, x: emit(op.nn.pad(x, [0] * 6)),
    "broadcast to the same": lambda emit, x: emit(op.broadcast_to(x, (2, 3, 4))),
    "tile once": lambda emit, x: emit(op.tile(x, (1, 1, 1))),
    "where always": lambda emit, x: emit(op.where(constant(np.ones((4,), bool)), x, _full(-1e9))),
    "dropout": lambda emit, x: emit(relax.TupleGetItem(emit(op.nn.dropout(x)), 0)),
}


@pytest.mark.parametrize("body", _NOTHING.values(), ids=_NOTHING.keys())
def test_what_does_nothing_is_taken_out(body: Callable[..., Any]) -> None:
    after = Canonicalize()(build(_SHAPE, lambda emit, x: emit(op.nn.relu(body(emit, x)))))
    assert after.modified
    assert_same_ir(after.module, build(_SHAPE, lambda emit, x: emit(op.nn.relu(x))))


def test_adding_zero_stays_where_it_changes_the_sign_of_a_zero() -> None:
    for zero in (_full(0, 4), _full(0)):
        assert not Canonicalize()(build(_SHAPE, lambda emit, x, zero=zero: emit(op.add(x, zero)))).modified
    assert not Canonicalize()(build(_SHAPE, lambda emit, x: emit(op.subtract(x, _full(-0.0, 4))))).modified


_REWRITTEN: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax of a mask of zeros": (
        lambda e, x: e(op.nn.softmax(e(op.add(x, _full(0, 2, 3, 4))), 1)),
        lambda e, x: e(op.nn.softmax(x, 1)),
    ),
    "expand_dims": (lambda e, x: e(op.expand_dims(x, 1)), lambda e, x: e(op.reshape(x, (2, 1, 3, 4)))),
    "flatten": (lambda e, x: e(op.flatten(x)), lambda e, x: e(op.reshape(x, (24,)))),
    "reshapes": (
        lambda e, x: e(op.squeeze(e(op.reshape(x, (1, 6, 4))), 0)),
        lambda e, x: e(op.reshape(x, (6, 4))),
    ),
    "transposes": (
        lambda e, x: e(op.permute_dims(e(op.permute_dims(x, [1, 0, 2])), [0, 2, 1])),
        lambda e, x: e(op.permute_dims(x, [1, 2, 0])),
    ),
    "a transpose of an axis of 1": (
        lambda e, x: e(op.permute_dims(e(op.reshape(x, (1, 6, 4))), [1, 0, 2])),
        lambda e, x: e(op.reshape(x, (6, 1, 4))),
    ),
    "a split": (
        lambda e, x: e(op.add(*(e(relax.TupleGetItem(s, i)) for s in [e(op.split(x, 2, 2))] for i in (0, 1)))),
        lambda e, x: e(op.add(e(op.strided_slice(x, [2], [0], [2])), e(op.strided_slice(x, [2], [2], [4])))),
    ),
    "a split at places": (
        lambda e, x: e(relax.TupleGetItem(e(op.split(x, [1, 3], -1)), 1)),
        lambda e, x: e(op.strided_slice(x, [2], [1], [3])),
    ),
    "the last of uneven parts": (
        lambda e, x: e(relax.TupleGetItem(e(op.split(x, 2, 1)), 1)),
        lambda e, x: e(op.strided_slice(x, [1], [2], [3])),
    ),
    "bounds from the end": (
        lambda e, x: e(op.strided_slice(x, [-1, 0, 1], [-3, -9, 0], [2**31 - 1, 1, 3], [1, 1, 1])),
        lambda e, x: e(op.strided_slice(x, [0, 2], [0, 1], [1, 4])),
    ),
    "slices side by side": (
        lambda e, x: e(op.concat([e(op.strided_slice(x, [2], [n], [n + 1])) for n in (1, 2, 3)], -1)),
        lambda e, x: e(op.strided_slice(x, [2], [1], [4])),
    ),
    "slices side by side among others": (
        lambda e, x: e(
            op.concat([x, e(op.strided_slice(x, [1], [0], [2])), e(op.strided_slice(x, [1], [2], [3])), x], 1)
        ),
        lambda e, x: e(op.concat([x, x, x], 1)),
    ),
    "an exact division": (lambda e, x: e(op.divide(x, _full(8))), lambda e, x: e(op.multiply(x, _full(0.125)))),
    "relu6": (lambda e, x: e(op.nn.relu6(x)), lambda e, x: e(_clip(x, 0, 6))),
    "maximum with 0": (lambda e, x: e(op.maximum(x, _full(0))), lambda e, x: e(op.nn.relu(x))),
    "minimum of maximum": (
        lambda e, x: e(op.minimum(e(op.maximum(_full(-1), x)), _full(2))),
        lambda e, x: e(_clip(x, -1, 2)),
    ),
}


@pytest.mark.parametrize(("before", "expected"), _REWRITTEN.values(), ids=_REWRITTEN.keys())
def test_one_form(before: Callable[..., Any], expected: Callable[..., Any]) -> None:
    module = build(_SHAPE, before)
    after = Canonicalize()(module).module
    assert_same_ir(after, build(_SHAPE, expected))
    assert_same_numbers(module, after, tolerance=0)


_KEPT: dict[str, Callable[..., Any]] = {
    "an addition that broadcasts": lambda emit, x: emit(op.add(x, _full(0, 5, 2, 3, 4))),
    "a cast that loses": lambda emit, x: emit(op.astype(emit(op.astype(x, "float16")), "float32")),
    "a division that rounds": lambda emit, x: emit(op.divide(x, _full(3))),
    "slices the other way round": lambda emit, x: emit(
        op.concat([emit(op.strided_slice(x, [1], [2], [3])), emit(op.strided_slice(x, [1], [0], [2]))], 1)
    ),
    "slices along another axis": lambda emit, x: emit(
        op.concat([emit(op.strided_slice(x, [0], [0], [1])), emit(op.strided_slice(x, [0], [1], [2]))], 1)
    ),
    "steps of 2": lambda emit, x: emit(op.strided_slice(x, [2], [0], [4], [2])),
    "a reversal": lambda emit, x: emit(op.strided_slice(x, [0], [1], [-3], [-1])),
    "a division by 0": lambda emit, x: emit(op.divide(x, _full(0))),
}


@pytest.mark.parametrize("body", _KEPT.values(), ids=_KEPT.keys())
def test_what_does_something_stays(body: Callable[..., Any]) -> None:
    assert not Canonicalize()(build(_SHAPE, body)).modified


def test_dead_bindings_go_and_names_join() -> None:
    def body(emit: Any, x: Any) -> Any:
        emit(op.exp(x), "dead")
        return emit(op.reshape(emit(op.reshape(x, (6, 4)), "first"), (24,)), "second")

    assert hints(Canonicalize()(build(_SHAPE, body)).module) == ["first+second"]


def test_functions_of_reshaped_tensors_are_computed_before() -> None:
    """A kernel before the reshape can take them in; what reads the reshaped tensor elsewhere, or an input, stays."""

    def before(emit: Any, x: Any) -> Any:
        total = emit(op.add(x, x))
        flat = emit(op.reshape(total, (6, 4)))
        return emit(op.nn.gelu(emit(_clip(flat, -1.0, 1.0))))

    def expected(emit: Any, x: Any) -> Any:
        total = emit(op.add(x, x))
        return emit(op.reshape(emit(op.nn.gelu(emit(_clip(total, -1.0, 1.0)))), (6, 4)))

    assert_same_ir(Canonicalize()(build(_SHAPE, before)).module, build(_SHAPE, expected))
    assert_same_numbers(build(_SHAPE, before), Canonicalize()(build(_SHAPE, before)).module)


@pytest.mark.parametrize(
    "stays",
    [
        lambda emit, x: emit(op.nn.gelu(emit(op.reshape(x, (6, 4))))),
        lambda emit, x: _silu(emit, emit(op.reshape(emit(op.add(x, x)), (6, 4)))),
    ],
    ids=["an input", "read twice"],
)
def test_functions_of_what_else_is_reshaped_stay(stays: Callable[..., Any]) -> None:
    assert not Canonicalize()(build(_SHAPE, stays)).modified


def _silu(emit: Any, x: Any) -> Any:
    return emit(op.multiply(x, emit(op.sigmoid(x))))

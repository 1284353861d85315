"""fold_batch_norm: scales and shifts disappear into weights and biases, and the numbers stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op, operators, weights
from tilewright.ir_passes import FoldBatchNorm
from tilewright.ir_passes.core.constants import array_of, constant
from tvm import relax

_IMAGE = {"x": (2, 4, 6, 6)}


def _norm(emit: Any, x: Any, channels: int, spatial: int = 2) -> Any:
    ones = [1] * spatial
    return emit(op.add(emit(op.multiply(x, weights(channels, *ones, seed=3))), weights(channels, *ones, seed=4)))


_CASES: dict[str, tuple[dict[str, Any], Callable[..., Any], list[str]]] = {
    "conv2d": (
        _IMAGE,
        lambda emit, x: _norm(emit, emit(op.nn.conv2d(x, weights(8, 4, 3, 3), padding=1)), 8),
        ["nn.conv2d", "add"],
    ),
    "conv2d with a bias": (
        _IMAGE,
        lambda emit, x: _norm(emit, emit(op.add(emit(op.nn.conv2d(x, weights(8, 4, 3, 3))), weights(8, 1, 1))), 8),
        ["nn.conv2d", "add"],
    ),
    "depthwise": (
        _IMAGE,
        lambda emit, x: _norm(emit, emit(op.nn.conv2d(x, weights(4, 1, 3, 3), groups=4)), 4),
        ["nn.conv2d", "add"],
    ),
    "conv1d": (
        {"x": (1, 4, 9)},
        lambda emit, x: _norm(emit, emit(op.nn.conv1d(x, weights(8, 2, 3), groups=2)), 8, 1),
        ["nn.conv1d", "add"],
    ),
    "transposed convolution, grouped": (
        _IMAGE,
        lambda emit, x: _norm(emit, emit(op.nn.conv2d_transpose(x, weights(4, 3, 2, 2), groups=2)), 6),
        ["nn.conv2d_transpose", "add"],
    ),
    "matmul": (
        {"x": (5, 4)},
        lambda emit, x: _norm(emit, emit(op.matmul(x, weights(4, 7))), 7, 0),
        ["matmul", "add"],
    ),
    "a scale before a padded conv": (
        _IMAGE,
        lambda emit, x: emit(
            op.nn.conv2d(emit(op.multiply(x, weights(4, 1, 1))), weights(8, 2, 3, 3), padding=1, groups=2)
        ),
        ["nn.conv2d"],
    ),
    "a norm before an unpadded conv": (
        _IMAGE,
        lambda emit, x: emit(op.nn.conv2d(_norm(emit, x, 4), weights(8, 2, 3, 3), groups=2)),
        ["nn.conv2d", "add"],
    ),
    "a norm before a matmul": (
        {"x": (5, 4)},
        lambda emit, x: emit(op.matmul(_norm(emit, x, 4, 0), weights(4, 7))),
        ["matmul", "add"],
    ),
    "a division": (
        _IMAGE,
        lambda emit, x: emit(
            op.divide(emit(op.nn.conv2d(x, weights(8, 4, 1, 1))), constant(np.full((8, 1, 1), 3.0, "float32")))
        ),
        ["nn.conv2d"],
    ),
}


@pytest.mark.parametrize(("inputs", "body", "left"), _CASES.values(), ids=_CASES.keys())
def test_folds(inputs: dict[str, Any], body: Callable[..., Any], left: list[str]) -> None:
    module = build(inputs, body)
    after = FoldBatchNorm()(module).module
    assert operators(after) == left
    assert_same_numbers(module, after)


def test_weights_are_scaled_in_float64_and_rounded_once() -> None:
    kernel, scale, shift = weights(8, 4, 3, 3), weights(8, 1, 1, seed=3), weights(8, 1, 1, seed=4)

    def before(emit: Any, x: Any) -> Any:
        return emit(op.add(emit(op.multiply(emit(op.nn.conv2d(x, kernel)), scale)), shift))

    wide = array_of(kernel).astype("float64") * array_of(scale).astype("float64").reshape(8, 1, 1, 1)

    def expected(emit: Any, x: Any) -> Any:
        return emit(op.add(emit(op.nn.conv2d(x, constant(wide.astype("float32")))), shift))

    assert_same_ir(FoldBatchNorm()(build(_IMAGE, before)).module, build(_IMAGE, expected))


def test_batch_norm_operator() -> None:
    def body(emit: Any, x: Any) -> Any:
        y = emit(op.nn.conv2d(x, weights(8, 4, 1, 1)))
        variance = constant(np.linspace(0.5, 2, 8).astype("float32"))
        norm = op.nn.batch_norm(y, *(weights(8, seed=s) for s in (1, 2, 3)), variance, axis=1, training=False)
        return emit(relax.TupleGetItem(emit(norm), 0))

    module = build(_IMAGE, body)
    after = FoldBatchNorm()(module).module
    assert operators(after) == ["nn.conv2d", "add"]
    assert_same_numbers(module, after)


_KEPT: dict[str, Callable[..., Any]] = {
    "read twice": lambda emit, x: (lambda y: [y, _norm(emit, y, 8)])(emit(op.nn.conv2d(x, weights(8, 4, 1, 1)))),
    "not by channel": lambda emit, x: emit(op.multiply(emit(op.nn.conv2d(x, weights(8, 4, 1, 1))), weights(6))),
    "a shift before padding": lambda emit, x: emit(
        op.nn.conv2d(emit(op.add(x, weights(4, 1, 1))), weights(8, 4, 3, 3), padding=1)
    ),
}


@pytest.mark.parametrize("body", _KEPT.values(), ids=_KEPT.keys())
def test_what_cannot_fold_stays(body: Callable[..., Any]) -> None:
    assert not FoldBatchNorm()(build(_IMAGE, body)).modified


_BROADCAST: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "a scalar and a batch of matrices": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.matmul(emit(op.multiply(x, constant(np.float32(3)))), weights(2, 4, 5))),
    ),
    "a scale by channel and a batch of matrices": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.matmul(emit(op.multiply(x, weights(1, 4))), weights(2, 4, 5))),
    ),
    "a shift and a batch of matrices": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.matmul(emit(op.add(x, weights(4))), weights(2, 4, 5))),
    ),
    "a scale after a batch of matrices": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.multiply(emit(op.matmul(x, weights(2, 4, 5))), weights(1, 1, 5))),
    ),
    "a scale by matrix": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.multiply(emit(op.matmul(x, weights(2, 4, 5))), weights(2, 1, 1))),
    ),
    "a scale of a higher rank": (
        {"x": (3, 4)},
        lambda emit, x: emit(op.multiply(emit(op.matmul(x, weights(4, 5))), weights(2, 1, 5))),
    ),
    "a scale that repeats one channel": (
        _IMAGE,
        lambda emit, x: emit(op.multiply(emit(op.nn.conv2d(x, weights(1, 4, 1, 1))), weights(8, 1, 1))),
    ),
    "a shift that repeats one channel": (
        _IMAGE,
        lambda emit, x: emit(op.add(_norm(emit, emit(op.nn.conv2d(x, weights(1, 4, 1, 1))), 1), weights(8, 1, 1))),
    ),
    "a bias that enlarges": (
        _IMAGE,
        lambda emit, x: _norm(
            emit, emit(op.add(emit(op.nn.conv2d(x, weights(8, 4, 1, 1))), weights(2, 2, 8, 1, 1))), 8
        ),
    ),
}


@pytest.mark.parametrize(("inputs", "body"), _BROADCAST.values(), ids=_BROADCAST.keys())
def test_whatever_constants_broadcast_to(inputs: dict[str, Any], body: Callable[..., Any]) -> None:
    module = build(inputs, body)
    assert_same_numbers(module, FoldBatchNorm()(module).module)


_HALF = {"x": ((5, 4), "float16")}


def _scalar(value: float) -> Any:
    return constant(np.asarray(value, np.float16))


def _product(emit: Any, x: Any, scale: float) -> Any:
    return emit(op.multiply(emit(op.matmul(x, constant(np.full((4, 7), 200, np.float16)))), _scalar(scale)))


_OUT_OF_RANGE: dict[str, Callable[..., Any]] = {
    "too large": lambda emit, x: _product(emit, x, 1000.0),
    "too small": lambda emit, x: _product(emit, emit(op.tanh(x)), 6e-8),
    "too large before": lambda emit, x: emit(
        op.matmul(emit(op.multiply(x, _scalar(1000))), constant(np.full((4, 7), 200, np.float16)))
    ),
    "moved past a sum": lambda emit, x: emit(
        op.multiply(
            emit(op.add(emit(op.matmul(x, weights(4, 7, dtype="float16"))), weights(7, dtype="float16"))), _scalar(2)
        )
    ),
    "a shift moved past a product": lambda emit, x: emit(
        op.matmul(emit(op.add(x, _scalar(1000))), weights(4, 7, dtype="float16"))
    ),
}


@pytest.mark.parametrize("body", _OUT_OF_RANGE.values(), ids=_OUT_OF_RANGE.keys())
def test_half_precision_keeps_what_may_leave_its_range(body: Callable[..., Any]) -> None:
    assert not FoldBatchNorm()(build(_HALF, body)).modified


def test_half_precision_weights_in_range_are_scaled() -> None:
    after = FoldBatchNorm()(build(_HALF, lambda emit, x: _product(emit, x, 0.5))).module
    expected = build(_HALF, lambda emit, x: emit(op.matmul(x, constant(np.full((4, 7), 100, np.float16)))))
    assert_same_ir(after, expected)


def test_float32_weights_that_would_overflow_stay() -> None:
    large = constant(np.full((4, 7), 1e30, np.float32))
    body = lambda emit, x: emit(op.multiply(emit(op.matmul(x, large)), constant(np.float32(1e20))))  # noqa: E731
    assert not FoldBatchNorm()(build({"x": (5, 4)}, body)).modified

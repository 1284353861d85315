"""fuse_layer_norm: layer and RMS normalisation from their parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_numbers, build, op, operators, weights
from tilewright.ir_passes import FuseLayerNorm
from tilewright.ir_passes.core.constants import constant
from tvm import relax

_X = {"x": (2, 6, 8)}


def _c(value: float) -> Any:
    return relax.const(value, "float32")


_SQUARES: dict[str, Callable[..., Any]] = {
    "power": lambda d: op.power(d, _c(2)),
    "product": lambda d: op.multiply(d, d),
    "square": op.square,
}
_QUOTIENTS: dict[str, Callable[..., Any]] = {
    "divided by a root": lambda emit, d, v: emit(op.divide(d, emit(op.sqrt(v)))),
    "times rsqrt": lambda emit, d, v: emit(op.multiply(emit(op.rsqrt(v)), d)),
    "times a reciprocal": lambda emit, d, v: emit(op.multiply(d, emit(op.divide(_c(1), emit(op.sqrt(v)))))),
}


def _norm(emit: Any, d: Any, square: Any, quotient: Any, axes: list[int]) -> Any:
    variance = emit(op.add(emit(op.mean(emit(square(d)), axes, True)), _c(1e-5)))
    return quotient(emit, d, variance)


def _layer_norm(axes: list[int], gamma: Any, beta: Any, square: Any, quotient: Any) -> Callable[..., Any]:
    def body(emit: Any, x: Any) -> Any:
        centred = emit(op.subtract(x, emit(op.mean(x, axes, True))))
        normal = _norm(emit, centred, square, quotient, axes)
        return emit(op.add(emit(op.multiply(gamma, normal)), beta))

    return body


@pytest.mark.parametrize("square", _SQUARES.values(), ids=_SQUARES.keys())
@pytest.mark.parametrize("quotient", _QUOTIENTS.values(), ids=_QUOTIENTS.keys())
def test_layer_norm_in_every_form(square: Any, quotient: Any) -> None:
    module = build(_X, _layer_norm([-1], weights(8), weights(8, seed=1), square, quotient))
    assert operators(FuseLayerNorm()(module).module) == ["nn.layer_norm"]


@pytest.mark.parametrize(("axes", "shape"), [([-1], (8,)), ([1], (6, 1)), ([1, 2], (6, 8))])
def test_layer_norm_numbers(axes: list[int], shape: tuple[int, ...]) -> None:
    gamma, beta = weights(*shape, seed=2), weights(*shape, seed=3)
    module = build(_X, _layer_norm(axes, gamma, beta, op.square, _QUOTIENTS["divided by a root"]))
    after = FuseLayerNorm()(module).module
    assert operators(after) == ["nn.layer_norm"]
    assert_same_numbers(module, after)


def test_rms_norm() -> None:
    def body(emit: Any, x: Any) -> Any:
        normal = _norm(emit, x, _SQUARES["power"], _QUOTIENTS["times rsqrt"], [-1])
        return emit(op.multiply(normal, weights(8)))

    module = build(_X, body)
    after = FuseLayerNorm()(module).module
    assert operators(after) == ["nn.rms_norm"]
    assert_same_numbers(module, after)


def test_a_scale_along_other_axes_stays_outside() -> None:
    body = _layer_norm([-1], weights(6, 1), weights(8), op.square, _QUOTIENTS["divided by a root"])
    assert operators(FuseLayerNorm()(build(_X, body)).module) == ["nn.layer_norm", "multiply", "add"]


def test_a_variance_about_something_else_stays() -> None:
    def body(emit: Any, x: Any, y: Any) -> Any:
        variance = emit(op.add(emit(op.mean(emit(op.square(y)), [-1], True)), _c(1e-5)))
        return emit(op.divide(x, emit(op.sqrt(variance))))

    assert not FuseLayerNorm()(build({"x": (2, 8), "y": (2, 8)}, body)).modified


def test_a_scale_that_enlarges_stays_outside() -> None:
    def body(emit: Any, x: Any) -> Any:
        normal = _norm(emit, x, _SQUARES["power"], _QUOTIENTS["times rsqrt"], [-1])
        return emit(op.multiply(normal, weights(3, 1, 1, 8)))

    module = build(_X, body)
    after = FuseLayerNorm()(module).module
    assert operators(after) == ["nn.rms_norm", "multiply"]
    assert_same_numbers(module, after)


def test_gamma_stays_in_the_range_of_half_precision() -> None:
    def body(emit: Any, x: Any) -> Any:
        normal = emit(op.nn.rms_norm(x, constant(np.full(8, 6e4, np.float16)), axes=[-1]))
        return emit(op.multiply(normal, constant(np.full(8, 2, np.float16))))

    assert not FuseLayerNorm()(build({"x": ((2, 8), "float16")}, body)).modified

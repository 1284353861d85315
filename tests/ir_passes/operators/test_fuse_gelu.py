"""fuse_gelu: every way to write it, and what only looks like it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, hints, op
from tilewright.ir_passes import FuseGelu
from tvm import relax

_X = {"x": (2, 8)}
_HALF_ROOT = math.sqrt(0.5)
_TANH = math.sqrt(2 / math.pi)


def _c(value: float) -> Any:
    return relax.const(value, "float32")


def _erf_gate(emit: Any, x: Any, divide: bool = True) -> Any:
    inner = op.divide(x, _c(math.sqrt(2))) if divide else op.multiply(_c(_HALF_ROOT), x)
    return emit(op.add(emit(op.erf(emit(inner))), _c(1)))


def _cube_line(emit: Any, x: Any) -> Any:
    return emit(op.add(x, emit(op.multiply(emit(op.power(x, _c(3))), _c(0.044715)))))


def _factored_line(emit: Any, x: Any) -> Any:
    square = emit(op.multiply(emit(op.multiply(x, x)), _c(0.044715)))
    return emit(op.multiply(x, emit(op.add(_c(1), square))))


def _tanh_gate(emit: Any, line: Any) -> Any:
    return emit(op.add(_c(1), emit(op.tanh(emit(op.multiply(line, _c(_TANH)))))))


_ERF: dict[str, Callable[..., Any]] = {
    "x * gate * 0.5": lambda e, x: e(op.multiply(e(op.multiply(x, _erf_gate(e, x))), _c(0.5))),
    "0.5 x * gate": lambda e, x: e(op.multiply(e(op.multiply(x, _c(0.5))), _erf_gate(e, x))),
    "x * (0.5 gate)": lambda e, x: e(op.multiply(x, e(op.multiply(_c(0.5), _erf_gate(e, x, divide=False))))),
    "x * gate / 2": lambda e, x: e(op.divide(e(op.multiply(_erf_gate(e, x), x)), _c(2))),
}
_TANHS: dict[str, Callable[..., Any]] = {
    "cube": lambda e, x: e(op.multiply(e(op.multiply(_c(0.5), x)), _tanh_gate(e, _cube_line(e, x)))),
    "factored": lambda e, x: e(op.multiply(x, e(op.multiply(_tanh_gate(e, _factored_line(e, x)), _c(0.5))))),
}


@pytest.mark.parametrize("body", _ERF.values(), ids=_ERF.keys())
def test_erf(body: Callable[..., Any]) -> None:
    after = FuseGelu()(build(_X, body)).module
    assert_same_ir(after, build(_X, lambda emit, x: emit(op.nn.gelu(x))))


@pytest.mark.parametrize("body", _TANHS.values(), ids=_TANHS.keys())
def test_tanh(body: Callable[..., Any]) -> None:
    after = FuseGelu()(build(_X, body)).module
    assert_same_ir(after, build(_X, lambda emit, x: emit(op.nn.gelu_tanh(x))))


@pytest.mark.parametrize("body", [_ERF["x * gate * 0.5"], _TANHS["cube"]], ids=["erf", "tanh"])
def test_numbers(body: Callable[..., Any]) -> None:
    module = build(_X, body)
    assert_same_numbers(module, FuseGelu()(module).module, tolerance=1e-6)


def test_names_of_all_nodes_are_kept() -> None:
    def body(emit: Any, x: Any) -> Any:
        gate = emit(op.add(emit(op.erf(emit(op.divide(x, _c(math.sqrt(2))), "div")), "erf"), _c(1)), "one")
        return emit(op.multiply(emit(op.multiply(x, gate), "mul"), _c(0.5)), "half")

    assert hints(FuseGelu()(build(_X, body)).module) == ["div+erf+one+mul+half"]


_OTHERS: dict[str, Callable[..., Any]] = {
    "another scale": lambda e, x: e(op.multiply(e(op.multiply(x, _erf_gate(e, x))), _c(0.6))),
    "a gate of something else": lambda e, x: e(op.multiply(e(op.multiply(e(op.exp(x)), _erf_gate(e, x))), _c(0.5))),
    "a shifted line": lambda e, x: e(
        op.multiply(e(op.multiply(x, _tanh_gate(e, e(op.add(_cube_line(e, x), _c(0.1)))))), _c(0.5))
    ),
}


@pytest.mark.parametrize("body", _OTHERS.values(), ids=_OTHERS.keys())
def test_others_stay(body: Callable[..., Any]) -> None:
    assert not FuseGelu()(build(_X, body)).modified


def test_a_bias_before_it_is_no_part_of_it() -> None:
    bias = relax.const(np.linspace(-1, 1, 8, dtype="float32"))

    def before(emit: Any, x: Any) -> Any:
        y = emit(op.add(x, bias))
        return emit(op.multiply(emit(op.multiply(y, _erf_gate(emit, y))), _c(0.5)))

    expected = build(_X, lambda emit, x: emit(op.nn.gelu(emit(op.add(x, bias)))))
    assert_same_ir(FuseGelu()(build(_X, before)).module, expected)


_ENLARGING: dict[str, Callable[..., Any]] = {
    "the line": lambda e, x: e(
        op.multiply(e(op.multiply(x, e(op.add(e(op.erf(e(op.multiply(x, _column(_HALF_ROOT))))), _c(1))))), _c(0.5))
    ),
    "the one": lambda e, x: e(
        op.multiply(e(op.multiply(x, e(op.add(e(op.erf(e(op.multiply(x, _c(_HALF_ROOT))))), _column(1))))), _c(0.5))
    ),
    "the half": lambda e, x: e(op.multiply(e(op.multiply(x, _erf_gate(e, x))), _column(0.5))),
}


def _column(value: float) -> Any:
    """The same number three times, which makes three rows of a vector."""
    return relax.const(np.full((3, 1), value, np.float32))


@pytest.mark.parametrize("body", _ENLARGING.values(), ids=_ENLARGING.keys())
def test_constants_that_enlarge_x_stay(body: Callable[..., Any]) -> None:
    assert not FuseGelu()(build({"x": (8,)}, body)).modified

"""fuse_hard_swish: one form for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_numbers, build, op, operators
from tilewright.ir_passes import Canonicalize, FuseHardSwish, run_passes
from tvm import relax, tirx

_X = {"x": (4, 64)}
_PASSES = [Canonicalize(), FuseHardSwish()]


def _c(value: Any) -> Any:
    return relax.const(np.asarray(value, np.float32))


def _clip(x: Any, high: float) -> Any:
    return op.clip(x, tirx.const(0.0, "float32"), tirx.const(high, "float32"))


def _bounded(emit: Any, x: Any) -> Any:
    return emit(op.minimum(emit(op.maximum(emit(op.add(x, _c(3))), _c(0))), _c(6)))


_SWISH: dict[str, Callable[..., Any]] = {
    "x * clip / 6": lambda e, x: e(op.divide(e(op.multiply(x, e(_clip(e(op.add(x, _c(3))), 6.0)))), _c(6))),
    "x * (relu6 / 6)": lambda e, x: e(op.multiply(x, e(op.divide(e(op.nn.relu6(e(op.add(_c(3), x)))), _c(6))))),
    "minimum of maximum": lambda e, x: e(op.multiply(e(op.multiply(x, _c(1 / 6))), _bounded(e, x))),
}


@pytest.mark.parametrize("body", _SWISH.values(), ids=_SWISH.keys())
def test_hard_swish(body: Callable[..., Any]) -> None:
    module = build(_X, lambda emit, x: body(emit, emit(op.multiply(x, _c(4)))))
    after = run_passes(module, _PASSES).module
    assert operators(after) == ["multiply", "multiply", "add", "clip", "multiply"]
    assert_same_numbers(module, after, tolerance=1e-6)


def test_hard_sigmoid() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.divide(emit(_clip(emit(op.add(emit(op.multiply(x, _c(4))), _c(3))), 6.0)), _c(6)))

    module = build(_X, body)
    after = run_passes(module, _PASSES).module
    assert operators(after) == ["multiply", "add", "clip"]
    assert_same_numbers(module, after, tolerance=1e-6)


def test_the_imported_form_is_left_alone() -> None:
    def body(emit: Any, x: Any) -> Any:
        line = emit(op.add(emit(op.multiply(x, _c(1 / 6))), _c(0.5)))
        return emit(op.multiply(x, emit(_clip(line, 1.0))))

    assert not FuseHardSwish()(build(_X, body)).modified


def test_a_negative_scale_would_swap_the_bounds() -> None:
    def body(emit: Any, x: Any) -> Any:
        return emit(op.multiply(emit(_clip(emit(op.add(x, _c(3))), 6.0)), _c(-0.5)))

    assert not FuseHardSwish()(build(_X, body)).modified


_ENLARGING: dict[str, Callable[..., Any]] = {
    "the line": lambda emit, x: emit(op.divide(emit(_clip(emit(op.add(x, _c(np.full((4, 1), 3)))), 6.0)), _c(6))),
    "the line of a hard swish": lambda emit, x: emit(
        op.divide(emit(op.multiply(x, emit(_clip(emit(op.add(x, _c(np.full((4, 1), 3)))), 6.0)))), _c(6))
    ),
    "the divisor": lambda emit, x: emit(op.divide(emit(_clip(emit(op.add(x, _c(3))), 6.0)), _c(np.full((4, 1), 6)))),
}


@pytest.mark.parametrize("body", _ENLARGING.values(), ids=_ENLARGING.keys())
def test_constants_that_enlarge_x_stay(body: Callable[..., Any]) -> None:
    module = build({"x": (5,)}, body)
    after = FuseHardSwish()(module)
    assert not after.modified
    assert_same_numbers(module, after.module)

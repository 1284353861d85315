"""simplify_reductions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from relax_models import assert_same_ir, assert_same_numbers, build, op
from tilewright.ir_passes import SimplifyReductions

_X = {"x": (2, 3, 4, 5)}

_CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "adaptive pool": (
        lambda e, x: e(op.nn.adaptive_avg_pool2d(x, (1, 1))),
        lambda e, x: e(op.mean(x, [2, 3], True)),
    ),
    "whole average pool": (
        lambda e, x: e(op.nn.avg_pool2d(x, (4, 5), (4, 5))),
        lambda e, x: e(op.mean(x, [2, 3], True)),
    ),
    "whole maximum pool": (
        lambda e, x: e(op.nn.max_pool2d(x, (4, 5), (1, 1))),
        lambda e, x: e(op.max(x, [2, 3], True)),
    ),
    "one axis at a time": (
        lambda e, x: e(op.mean(e(op.mean(x, [3])), [2])),
        lambda e, x: e(op.mean(x, [2, 3])),
    ),
    "one axis at a time, kept": (
        lambda e, x: e(op.sum(e(op.sum(x, [1], True)), [3], True)),
        lambda e, x: e(op.sum(x, [1, 3], True)),
    ),
    "axes in order": (
        lambda e, x: e(op.mean(x, [-1, 2], True)),
        lambda e, x: e(op.mean(x, [2, 3], True)),
    ),
    "axes of length 1": (
        lambda e, x: e(op.max(e(op.reshape(x, (2, 3, 1, 20))), [2])),
        lambda e, x: e(op.reshape(e(op.reshape(x, (2, 3, 1, 20))), (2, 3, 20))),
    ),
}


@pytest.mark.parametrize(("before", "expected"), _CASES.values(), ids=_CASES.keys())
def test_one_form(before: Callable[..., Any], expected: Callable[..., Any]) -> None:
    module = build(_X, before)
    after = SimplifyReductions()(module).module
    assert_same_ir(after, build(_X, expected))
    assert_same_numbers(module, after)


_KEPT: dict[str, Callable[..., Any]] = {
    "a window with padding": lambda e, x: e(op.nn.avg_pool2d(x, (6, 5), (1, 1), padding=(1, 0, 1, 0))),
    "a smaller window": lambda e, x: e(op.nn.max_pool2d(x, (2, 5), (1, 1))),
    "mean of a sum": lambda e, x: e(op.mean(e(op.sum(x, [3])), [2])),
}


@pytest.mark.parametrize("body", _KEPT.values(), ids=_KEPT.keys())
def test_others_stay(body: Callable[..., Any]) -> None:
    assert not SimplifyReductions()(build(_X, body)).modified

"""Conditions in vectorized loops: without the lane where the border lies between vectors, untouched elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
import tvm_ffi
from tilewright.compiler.vector_borders import cut_at_borders
from tvm import tirx


def loop_with(condition: Any, lanes: int = 8) -> tuple[Any, Any]:
    """A function that stores where `condition(i, lane)` holds, and the variable of its vectorized loop."""
    buffer = tirx.decl_buffer([1024], "float32", "y")
    i, lane = tirx.Var("i", "int64"), tirx.Var("lane", "int64")
    store = tirx.BufferStore(
        buffer,
        tirx.if_then_else(condition(i, lane), tirx.const(1.0, "float32"), tirx.const(0.0, "float32")),
        [i * lanes + lane],
    )
    zero = tirx.IntImm("int64", 0)
    inner = tirx.For(lane, zero, tirx.IntImm("int64", lanes), tirx.ForKind.VECTORIZED, store)
    return tirx.PrimFunc([buffer], tirx.For(i, zero, tirx.IntImm("int64", 16), tirx.ForKind.SERIAL, inner)), lane


def mentions_lane(function: Any, lane: Any) -> bool:
    """Whether a comparison depends on the lane."""
    found: list[bool] = []

    def note(comparison: Any) -> None:
        tvm_ffi.structural_walk(comparison, (tirx.Var, lambda each: found.append(bool(each.same_as(lane)))))

    kinds = (tirx.LE, tirx.LT, tirx.GE, tirx.GT)
    tvm_ffi.structural_walk(function.body, [(kind, note) for kind in kinds])
    return any(found)


@pytest.mark.parametrize(
    ("condition", "uniform"),
    [
        (lambda i, lane: i * 8 + lane >= 64, True),
        (lambda i, lane: i * 8 + lane < 64, True),
        (lambda i, lane: tirx.LE(tirx.IntImm("int64", 64), i * 8 + lane), True),
        (lambda i, lane: tirx.GT(tirx.IntImm("int64", 64), i * 8 + lane), True),
        (lambda i, lane: i * 16 + lane + 24 < 64, True),
        (lambda i, lane: i * 8 + lane >= 60, False),  # the border lies inside a vector
        (lambda i, lane: i * 4 + lane < 64, False),  # vectors start at multiples of 4
        (lambda i, lane: i * 8 + lane > 64, False),  # false for the first element alone
        (lambda i, lane: i * 8 - lane >= 64, False),
        (lambda i, lane: i * 8 + lane * 2 >= 64, False),
    ],
)
def test_conditions(condition: Any, uniform: bool) -> None:
    before, lane = loop_with(condition)
    after = cut_at_borders(before)
    assert mentions_lane(before, lane)
    assert mentions_lane(after, lane) != uniform
    if uniform:  # equal for every element
        truths = [
            [bool(evaluate(function, i, each)) for i in range(16) for each in range(8)] for function in (before, after)
        ]
        assert truths[0] == truths[1] and len(set(truths[0])) == 2


def evaluate(function: Any, i: int, lane: int) -> Any:
    """The condition of `loop_with` for one element."""
    calls: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tvm.ir.Call, calls.append))
    values = {"i": i, "lane": lane}
    condition = tvm_ffi.structural_map(
        calls[0].args[0], (tirx.Var, lambda each: tirx.IntImm("int64", values[str(each.name)]))
    )
    return tvm.sym.Analyzer().simplify(condition).value

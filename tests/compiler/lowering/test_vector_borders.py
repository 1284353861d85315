"""Vectorized loops and borders: no comparison of the lane is left, vectors stay whole, elements stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tilewright.compiler.lowering.vector_borders import cut_at_borders
from tvm import tirx
from tvm.ir import TensorLoad

LANES = 8
VECTORS = 16
Condition = Callable[[Any, Any], Any]
COMPARISONS = (tirx.LE, tirx.LT, tirx.GE, tirx.GT)


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def loop_with(condition: Condition, lanes: int = LANES) -> Any:
    """A function that stores 1 where `condition(i, lane)` holds, else 2, in a vectorized loop in a loop."""
    buffer = tirx.decl_buffer([1024], "float32", "y")
    i, lane = tirx.Var("i", "int64"), tirx.Var("lane", "int64")
    value = tirx.if_then_else(condition(i, lane), tirx.const(1.0, "float32"), tirx.const(2.0, "float32"))
    store = tirx.BufferStore(buffer, value, [i * lanes + lane])
    inner = tirx.For(lane, number(0), number(lanes), tirx.ForKind.VECTORIZED, store)
    return tirx.PrimFunc([buffer], tirx.For(i, number(0), number(VECTORS), tirx.ForKind.SERIAL, inner))


def vector_loops(function: Any) -> list[Any]:
    loops: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.For, loops.append))
    return [loop for loop in loops if loop.kind == tirx.ForKind.VECTORIZED]


def compares_lanes(function: Any) -> bool:
    """Whether a comparison depends on the lane of a vectorized loop."""
    lanes = [loop.loop_var for loop in vector_loops(function)]
    found: list[bool] = []

    def note(comparison: Any) -> None:
        tvm_ffi.structural_walk(
            comparison, (tirx.Var, lambda each: found.append(any(each.same_as(lane) for lane in lanes)))
        )

    tvm_ffi.structural_walk(function.body, [(kind, note) for kind in COMPARISONS])
    return any(found)


def run(function: Any) -> Any:
    """What a function of one output stores, by TVM's own code generation of scalar loops."""

    def serial(loop: Any) -> Any:
        return tirx.For(loop.loop_var, loop.min, loop.extent, tirx.ForKind.SERIAL, loop.body)

    plain = function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, serial)))
    result = tvm.runtime.tensor(np.zeros(1024, "float32"))
    tvm.compile(plain.with_attr("global_symbol", "main"), target="llvm")["main"](result)
    return result.numpy()


def same(condition: Condition, function: Any, lanes: int = LANES) -> bool:
    return bool(np.array_equal(run(function), run(loop_with(condition, lanes))))


@pytest.mark.parametrize(
    "condition",
    [
        lambda i, lane: i * 8 + lane >= 64,
        lambda i, lane: i * 8 + lane < 64,
        lambda i, lane: tirx.LE(number(64), i * 8 + lane),
        lambda i, lane: tirx.GT(number(64), i * 8 + lane),
        lambda i, lane: i * 16 + lane + 24 < 64,
    ],
)
def test_a_border_between_vectors_leaves_one_loop(condition: Condition) -> None:
    before = loop_with(condition)
    after = cut_at_borders(before)
    assert compares_lanes(before) and not compares_lanes(after)
    assert [int(loop.extent) for loop in vector_loops(after)] == [LANES]
    assert same(condition, after)


@pytest.mark.parametrize(
    ("condition", "lengths"),
    [
        (lambda i, lane: i * 8 + lane >= 60, [8, 4, 4]),
        (lambda i, lane: i * 8 + lane < 61, [8, 4, 2]),  # 5 lanes and 3: 4 + 1 and 2 + 1
        (lambda i, lane: i * 8 + lane > 64, [8, 4, 2]),  # false for the first element alone
        (lambda i, lane: i * 8 - lane >= 58, [8, 4, 2]),  # falls with the lane: 7 lanes and 1
        (lambda i, lane: tirx.LE(number(50), i * 8 - lane), [8, 4, 2]),
        (lambda i, lane: tirx.all(i * 8 + lane >= 3, i * 8 + lane < 61), [8, 2, 2, 2]),  # 3, 2 and 3 lanes
    ],
)
def test_a_border_inside_a_vector_cuts_that_vector(condition: Condition, lengths: list[int]) -> None:
    before = loop_with(condition)
    after = cut_at_borders(before)
    assert compares_lanes(before) and not compares_lanes(after)
    assert [int(loop.extent) for loop in vector_loops(after)] == lengths
    assert same(condition, after)


@pytest.mark.parametrize(
    ("condition", "lanes"),
    [
        (lambda i, lane: i * 4 + lane < 62, 8),  # vectors start at multiples of 4: at different lanes
        (lambda i, lane: i * 8 + lane * 2 >= 60, 8),
        (lambda i, lane: (i * 8 + lane) % 5 < 3, 8),
        (lambda i, lane: tirx.any(*[i * 16 + lane > border * 17 for border in range(12)]), 16),  # more than it writes
    ],
)
def test_what_it_leaves_alone(condition: Condition, lanes: int) -> None:
    before = loop_with(condition, lanes)
    assert compares_lanes(before)
    tvm.ir.assert_structural_equal(cut_at_borders(before), before)


def test_a_guarded_store_is_whole_vectors_and_a_tail() -> None:
    """The end of a row of 28 in vectors of 8, which a split loop guards."""
    source, target = (tirx.decl_buffer([28], "float32", name) for name in "xy")
    i, lane = tirx.Var("i", "int64"), tirx.Var("lane", "int64")
    at = i * LANES + lane
    store = tirx.IfThenElse(at < number(28), tirx.BufferStore(target, tirx.BufferLoad(source, [at]), [at]), None)
    inner = tirx.For(lane, number(0), number(LANES), tirx.ForKind.VECTORIZED, store)
    before = tirx.PrimFunc([source, target], tirx.For(i, number(0), number(4), tirx.ForKind.SERIAL, inner))
    passes = [tirx.transform.StmtSimplify(), tirx.transform.RemoveNoOp()]
    after = tvm.ir.transform.Sequential(passes)(tvm.IRModule({"main": cut_at_borders(before)}))["main"]
    assert [int(loop.extent) for loop in vector_loops(after)] == [8, 4]
    loads: list[Any] = []
    tvm_ffi.structural_walk(after.body, (TensorLoad, loads.append))
    assert len(loads) == 2  # nothing for the lanes beyond the end

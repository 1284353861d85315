"""Vectors whose elements stand at constant distances: whole vectors inside the same stretch, and one shuffle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tilewright.compiler.lowering.strided_loads import cover, load_whole_vectors
from tilewright.schedules.tensorir.rebuild import found
from tvm import tirx
from tvm.ir import TensorLoad

SIZE = 256
Index = Callable[[Any], Any]


def number(value: int) -> Any:
    return tirx.IntImm("int32", value)


def ramp(base: Any, stride: int, lanes: int) -> Any:
    return tirx.Ramp(base, number(stride), lanes)


def broadcast(value: int, lanes: int) -> Any:
    return tirx.Broadcast(number(value), lanes)


def planes(base: Any, count: int, lanes: int) -> Any:
    """Element after element from so many planes of 32 in turn."""
    lane = ramp(base * lanes, 1, lanes)
    return tirx.FloorMod(lane, broadcast(count, lanes)) * broadcast(32, lanes) + tirx.FloorDiv(
        lane, broadcast(count, lanes)
    )


def copies(index: Index, lanes: int, dtype: str = "float32") -> Any:
    """y[i * lanes : ...] = x[index(i)] for four vectors."""
    x, y = tirx.decl_buffer([SIZE], dtype, "x"), tirx.decl_buffer([4 * lanes], dtype, "y")
    i = tirx.Var("i", "int32")
    store = tirx.BufferStore(y, tirx.BufferLoad(x, [index(i)]), [ramp(i * lanes, 1, lanes)])
    return tirx.PrimFunc([x, y], tirx.For(i, number(0), number(4), tirx.ForKind.SERIAL, store))


def run(function: Any, lanes: int, dtype: str) -> Any:
    data = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, SIZE).astype(dtype)
    result = tvm.runtime.tensor(np.zeros(4 * lanes, dtype))
    tvm.compile(function.with_attr("global_symbol", "main"), target="llvm")["main"](tvm.runtime.tensor(data), result)
    return result.numpy()


def test_every_second_element() -> None:
    before = copies(lambda i: ramp(i * 16, 2, 8), 8)
    x, y = before.params
    i = before.body.loop_var
    loads = [tirx.BufferLoad(x, [ramp(i * 16 + number(start), 1, 8)]) for start in (0, 7)]
    shuffle = tirx.Shuffle(loads, [number(pick) for pick in (0, 2, 4, 6, 9, 11, 13, 15)])
    store = tirx.BufferStore(y, shuffle, [ramp(i * 8, 1, 8)])
    expected = tirx.PrimFunc([x, y], tirx.For(i, number(0), number(4), tirx.ForKind.SERIAL, store))
    after = load_whole_vectors(before)
    tvm.ir.assert_structural_equal(
        tirx.transform.StmtSimplify()(tvm.IRModule({"main": after})),
        tirx.transform.StmtSimplify()(tvm.IRModule({"main": expected})),
    )


@pytest.mark.sweep(4)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int8", "int64", "bool"])
@pytest.mark.parametrize(
    ("index", "lanes", "widths"),
    [
        pytest.param(lambda i: ramp(i * 16, 2, 8), 8, [8, 8], id="stride 2"),
        pytest.param(lambda i: ramp(i * 24 + 5, 3, 8), 8, [8, 8, 8], id="stride 3"),
        pytest.param(lambda i: ramp(100 - i * 8, -1, 8), 8, [8], id="reversed"),
        pytest.param(lambda i: planes(i, 2, 8), 8, [4, 4], id="two planes"),
        pytest.param(lambda i: planes(i, 4, 16), 16, [4, 4, 4, 4], id="four planes"),
        pytest.param(lambda i: tirx.FloorDiv(ramp(i * 8, 1, 8), broadcast(2, 8)), 8, [4, 4], id="repeated"),
        pytest.param(lambda i: ramp(i * 8, 2, 4), 4, [4, 4], id="stride 2, four lanes"),
    ],
)
def test_the_same_elements_in_whole_vectors(index: Index, lanes: int, widths: list[int], dtype: str) -> None:
    before = copies(index, lanes, dtype)
    after = load_whole_vectors(before)
    loads = found(after.body, TensorLoad)
    assert [int(load.indices[0].lanes) for load in loads] == widths
    assert all(int(load.indices[0].stride) == 1 for load in loads)
    np.testing.assert_array_equal(run(after, lanes, dtype), run(before, lanes, dtype))


@pytest.mark.parametrize(
    ("index", "lanes"),
    [
        pytest.param(lambda i: ramp(i * 8, 1, 8), 8, id="side by side"),
        pytest.param(lambda i: ramp(i, 32, 8), 8, id="far apart"),
        pytest.param(lambda i: tirx.FloorMod(ramp(i * 8, 1, 8), broadcast(7, 8)), 8, id="no constant distance"),
        pytest.param(lambda i: ramp(i, 3, 2), 2, id="two lanes"),
    ],
)
def test_what_it_leaves_alone(index: Index, lanes: int) -> None:
    before = copies(index, lanes)
    tvm.ir.assert_structural_equal(load_whole_vectors(before), before)


def test_covers_stay_between_the_first_and_the_last_element() -> None:
    covered = 0
    for lanes, stride, group, jump in itertools.product((4, 8, 16), (-2, -1, 0, 1, 2, 3, 5), (1, 2, 4), (0, 1, 7, 100)):
        offsets = [(lane // group) * stride + (lane % group) * jump for lane in range(lanes)]
        plan = cover(offsets)
        if plan is None:
            continue
        covered += 1
        held = [start + lane for start in plan.starts for lane in range(plan.width)]
        assert [held[pick] for pick in plan.picks] == offsets
        assert min(held) >= min(offsets) and max(held) <= max(offsets)
    assert covered > 50

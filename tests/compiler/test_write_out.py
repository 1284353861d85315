"""Chains of arithmetic in turn: the order of steps, what must keep its place, and the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from kernel_runner import Runner
from tilewright import targets
from tilewright.compiler import lowering
from tilewright.compiler.interleave import interleave
from tilewright.schedules.rebuild import substituted
from tvm import relax, tirx

LANES = 8
Chain = Callable[[Any], Any]


def vector(buffer: Any, start: Any) -> Any:
    return tirx.BufferLoad(buffer, [tirx.Ramp(start, 1, LANES)])


def store(buffer: Any, start: Any, value: Any) -> Any:
    return tirx.BufferStore(buffer, value, [tirx.Ramp(start, 1, LANES)])


def buffers(*names: str) -> list[Any]:
    return [tirx.decl_buffer([1024], "float32", name) for name in names]


def all_lanes(number: float) -> Any:
    return tirx.Broadcast(tirx.const(number, "float32"), LANES)


def chain(loaded: Any) -> Any:
    """let x = loaded * 2 in x * x + x"""
    x = tirx.Var("x", tvm.ir.PrimType(f"float32x{LANES}"))
    return tirx.Let(x, loaded * all_lanes(2), x * x + x)


def function(parameters: list[Any], *statements: Any) -> Any:
    return tirx.PrimFunc(parameters, tirx.SeqStmt(list(statements)) if len(statements) > 1 else statements[0])


def assert_equal(actual: Any, expected: Any) -> None:
    tvm.ir.assert_structural_equal(actual, expected, map_free_vars=True)


def in_turn(target: Any, loads: list[Any], starts: list[Any]) -> list[Any]:
    """What becomes of `chain` for several stores."""
    statements: list[Any] = []

    def step(values: list[Any]) -> list[Any]:
        names = [tirx.Var("step", value.ty) for value in values]
        statements.extend(tirx.Bind(name, value) for name, value in zip(names, values, strict=True))
        return names

    doubled = step([load * all_lanes(2) for load in loads])
    squares = step([x * x for x in doubled])
    sums = step([square + x for square, x in zip(squares, doubled, strict=True)])
    return statements + [store(target, start, value) for start, value in zip(starts, sums, strict=True)]


def test_steps_of_stores_alternate() -> None:
    a, y = buffers("a", "y")
    starts = [0, 8, 16]
    before = function([a, y], *(store(y, start, chain(vector(a, start))) for start in starts))
    expected = function([a, y], *in_turn(y, [vector(a, start) for start in starts], starts))
    assert_equal(interleave(before), expected)


def test_long_runs_are_cut_evenly() -> None:
    a, y = buffers("a", "y")
    starts = [8 * each for each in range(12)]
    before = function([a, y], *(store(y, start, chain(vector(a, start))) for start in starts))
    halves = [in_turn(y, [vector(a, start) for start in half], half) for half in (starts[:6], starts[6:])]
    assert_equal(interleave(before), function([a, y], *halves[0], *halves[1]))


def test_bindings_come_first() -> None:
    a, y = buffers("a", "y")
    start = tirx.Var("start", "int32")
    bind = tirx.Bind(start, tirx.IntImm("int32", 8))
    first, second = store(y, 0, chain(vector(a, 0))), store(y, start, chain(vector(a, start)))
    expected = function([a, y], bind, *in_turn(y, [vector(a, 0), vector(a, start)], [0, start]))
    assert_equal(interleave(function([a, y], first, bind, second)), expected)


def test_a_store_that_reads_what_another_writes_waits() -> None:
    a, y = buffers("a", "y")
    before = function([a, y], store(y, 0, chain(vector(a, 0))), store(y, 8, chain(vector(y, 0))))
    assert_equal(interleave(before), before)


def test_a_binding_that_reads_what_a_store_writes_waits() -> None:
    a, y = buffers("a", "y")
    kept = tirx.Var("kept", tvm.ir.PrimType(f"float32x{LANES}"))
    before = function([a, y], store(y, 0, chain(vector(a, 0))), tirx.Bind(kept, vector(y, 0)), store(y, 8, chain(kept)))
    assert_equal(interleave(before), before)


def test_plain_arithmetic_stays() -> None:
    a, y = buffers("a", "y")
    before = function([a, y], *(store(y, start, vector(a, start) * all_lanes(2)) for start in (0, 8)))
    assert interleave(before).same_as(before)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("extent", "ways"), [(16, 8), (6, 6), (10, 5), (14, 7)])
def test_loops_take_several_iterations_at_a_time(extent: int, ways: int, first: int) -> None:
    a, y = buffers("a", "y")
    i, start = tirx.Var("i", "int32"), tirx.Var("start", "int32")
    body = tirx.SeqStmt([tirx.Bind(start, i * LANES), store(y, start, chain(vector(a, start)))])
    after = interleave(function([a, y], tirx.For(i, first, extent, tirx.ForKind.SERIAL, body))).body
    stores: list[Any] = []
    tvm_ffi.structural_walk(after, (tirx.BufferStore, stores.append))
    written = [
        int(tvm.sym.Analyzer().simplify(substituted(each.indices[0].base, {after.loop_var: tirx.IntImm("int32", n)})))
        for n in range(int(after.min), int(after.min) + int(after.extent))
        for each in stores
    ]
    assert len(stores) == ways
    assert written == [LANES * each for each in range(first, first + extent)]


@pytest.mark.parametrize("extent", [1, 11])
def test_loops_of_no_divisor_stay(extent: int) -> None:
    a, y = buffers("a", "y")
    i = tirx.Var("i", "int32")
    value = store(y, i * LANES, chain(vector(a, i * LANES)))
    before = function([a, y], tirx.For(i, 0, extent, tirx.ForKind.SERIAL, value))
    assert_equal(interleave(before), before)


def test_what_is_not_a_serial_loop_of_one_store_stays() -> None:
    a, y = buffers("a", "y")
    i = tirx.Var("i", "int32")
    value = store(y, i * LANES, chain(vector(a, i * LANES)))
    parallel = function([a, y], tirx.For(i, 0, 16, tirx.ForKind.PARALLEL, value))
    assert_equal(interleave(parallel), parallel)


def test_chains_of_several_functions_stay() -> None:
    """In turn they would take the code generator minutes."""
    a, y = buffers("a", "y")

    def long(loaded: Any) -> Any:
        for _ in range(9):
            loaded = chain(loaded)
        return loaded

    before = function([a, y], *(store(y, start, long(vector(a, start))) for start in (0, 8)))
    assert_equal(interleave(before), before)


@pytest.mark.timeout(30)
def test_a_function_of_a_function_of_a_function_is_compiled_at_once() -> None:
    data = np.linspace(-3, 3, 1024, dtype="float32")
    actual = Runner()(lambda x: relax.op.tanh(relax.op.exp(relax.op.tanh(relax.op.sigmoid(x)))), data)
    wide = data.astype("float64")
    np.testing.assert_allclose(actual, np.tanh(np.exp(np.tanh(1 / (1 + np.exp(-wide))))), rtol=1e-5)


@pytest.mark.parametrize("operator", [relax.op.nn.silu, relax.op.nn.gelu, relax.op.nn.softmax])
def test_the_same_numbers(monkeypatch: pytest.MonkeyPatch, operator: Any) -> None:
    data = np.random.default_rng(7).standard_normal((24, 192)).astype("float32") * 4
    used: list[bool] = []

    def noted(function: Any) -> Any:
        after = interleave(function)
        used.append(not after.same_as(function))
        return after

    monkeypatch.setattr(lowering, "interleave", noted)
    with_pass = Runner()(operator, data)
    assert any(used)
    monkeypatch.setattr(lowering, "interleave", lambda function: function)
    without = Runner()(operator, data)
    assert np.abs(with_pass).max() > 0.5
    np.testing.assert_allclose(with_pass, without, rtol=2e-6, atol=1e-7)


def test_a_loop_that_accumulates_stays() -> None:
    a, y = buffers("a", "y")
    i = tirx.Var("i", "int32")
    value = store(y, 0, vector(y, 0) + chain(vector(a, i * LANES)))
    before = function([a, y], tirx.For(i, 0, 5, tirx.ForKind.SERIAL, value))
    assert_equal(interleave(before), before)


WIDTHS = (3, 17, 24, 40, 48, 56, 72, 80, 112, 144, 240, 600, 1000, 8400)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_rows_of_every_width(cpu: str) -> None:
    """Rows that are an odd number of registers long, or end within one, by every vector width."""
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    if not set(target.required_features) <= set(targets.parse("host").required_features):
        pytest.skip("this machine lacks the instructions")
    rows = [np.random.default_rng(width).standard_normal((2, width)).astype("float32") * 3 for width in WIDTHS]

    def sums(*x: Any) -> Any:
        logs = [relax.op.nn.log_softmax(each, -1) for each in x]
        means = [relax.op.mean(relax.op.sigmoid(each), [-1], keepdims=True) for each in x]
        return relax.op.concat([*logs, *means], axis=1)

    def expected(x: Any) -> tuple[Any, Any]:
        shifted = x - x.max(-1, keepdims=True)
        logarithms = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
        return logarithms, (1 / (1 + np.exp(-x))).mean(-1, keepdims=True)

    logs, means = zip(*(expected(each.astype("float64")) for each in rows), strict=True)
    actual = Runner()(sums, *rows, target=target)
    np.testing.assert_allclose(actual, np.concatenate([*logs, *means], axis=1), rtol=2e-6, atol=1e-6)

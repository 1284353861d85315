"""Hidden floats written out: the order of steps, what must keep its place, what is computed where, and the numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from kernel_runner import Runner
from tilewright import hidden_floats as hidden
from tilewright import targets
from tilewright.compiler.lowering import write_out as module
from tilewright.compiler.lowering.float_steps import Steps, has_hidden
from tilewright.compiler.lowering.write_out import write_out
from tilewright.schedules.tensorir.rebuild import substituted
from tvm import relax, tirx

LANES = 8


def vector(buffer: Any, start: Any) -> Any:
    return tirx.BufferLoad(buffer, [tirx.Ramp(start, 1, LANES)])


def store(buffer: Any, start: Any, value: Any) -> Any:
    return tirx.BufferStore(buffer, value, [tirx.Ramp(start, 1, LANES)])


def buffers(*names: str) -> list[Any]:
    return [tirx.decl_buffer([1024], "float32", name) for name in names]


def chain(loaded: Any) -> Any:
    """A long one: a function of a sum."""
    return hidden.function("silu", hidden.add(loaded, loaded))


def function(parameters: list[Any], *statements: Any) -> Any:
    return tirx.PrimFunc(parameters, tirx.SeqStmt(list(statements)) if len(statements) > 1 else statements[0])


def flat(node: Any) -> list[Any]:
    return [inner for each in node.seq for inner in flat(each)] if isinstance(node, tirx.SeqStmt) else [node]


def in_turn(*stores: Any) -> list[Any]:
    """What becomes of long stores: the first step of each, the second of each, ..., then the stores."""
    chains = [Steps(every=True) for _ in stores]
    values = [chain.value(each.value) for chain, each in zip(chains, stores, strict=True)]
    assert len(chains[0].statements) > 15
    steps = [
        part for turn in zip(*(chain.statements for chain in chains), strict=True) for step in turn for part in step
    ]
    last = [tirx.BufferStore(each.buffer, value, each.indices) for each, value in zip(stores, values, strict=True)]
    return [*steps, *last]


def alone(each: Any) -> list[Any]:
    steps = Steps(every=True)
    value = steps.value(each.value)
    return [*steps.all(), tirx.BufferStore(each.buffer, value, each.indices)]


def check(parameters: list[Any], statements: list[Any], expected: list[Any]) -> None:
    after = write_out(function(parameters, *statements))
    assert not has_hidden(after.body)
    actual = tirx.SeqStmt(flat(after.body))
    tvm.ir.assert_structural_equal(actual, tirx.SeqStmt(expected), map_free_vars=True)


def test_steps_of_stores_alternate() -> None:
    a, y = buffers("a", "y")
    stores = [store(y, start, chain(vector(a, start))) for start in (0, 8, 16)]
    check([a, y], stores, in_turn(*stores))


def test_long_runs_are_cut_evenly() -> None:
    a, y = buffers("a", "y")
    stores = [store(y, 8 * each, chain(vector(a, 8 * each))) for each in range(12)]
    check([a, y], stores, in_turn(*stores[:6]) + in_turn(*stores[6:]))


def test_bindings_come_first() -> None:
    a, y = buffers("a", "y")
    start = tirx.Var("start", "int32")
    bind = tirx.Bind(start, tirx.IntImm("int32", 8))
    first, second = store(y, 0, chain(vector(a, 0))), store(y, start, chain(vector(a, start)))
    check([a, y], [first, bind, second], [bind, *in_turn(first, second)])


def test_a_store_that_reads_what_another_writes_waits() -> None:
    a, y = buffers("a", "y")
    first, second = store(y, 0, chain(vector(a, 0))), store(y, 8, chain(vector(y, 0)))
    check([a, y], [first, second], alone(first) + alone(second))


def test_a_binding_that_reads_what_a_store_writes_waits() -> None:
    a, y = buffers("a", "y")
    kept = tirx.Var("kept", tvm.ir.PrimType(f"float32x{LANES}"))
    first, bind, second = store(y, 0, chain(vector(a, 0))), tirx.Bind(kept, vector(y, 0)), store(y, 8, chain(kept))
    check([a, y], [first, bind, second], [*alone(first), bind, *alone(second)])


def test_short_arithmetic_stays_one_expression() -> None:
    a, y = buffers("a", "y")
    before = [store(y, start, hidden.add(vector(a, start), vector(a, start))) for start in (0, 8)]
    after = [store(y, start, tirx.Add(vector(a, start), vector(a, start))) for start in (0, 8)]
    check([a, y], before, after)


def test_what_has_no_floats_stays() -> None:
    a, y = buffers("a", "y")
    before = function([a, y], *(store(y, start, vector(a, start)) for start in (0, 8)))
    assert write_out(before).same_as(before)


@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize(("extent", "ways"), [(16, 8), (6, 6), (10, 5), (14, 7)])
def test_loops_take_several_iterations_at_a_time(extent: int, ways: int, first: int) -> None:
    a, y = buffers("a", "y")
    i, start = tirx.Var("i", "int32"), tirx.Var("start", "int32")
    body = tirx.SeqStmt([tirx.Bind(start, i * LANES), store(y, start, chain(vector(a, start)))])
    after = write_out(function([a, y], tirx.For(i, first, extent, tirx.ForKind.SERIAL, body))).body
    stores = [each for each in flat(after.body) if isinstance(each, tirx.BufferStore) and each.buffer.same_as(y)]
    written = [
        int(tvm.sym.Analyzer().simplify(substituted(each.indices[0].base, {after.loop_var: tirx.IntImm("int32", n)})))
        for n in range(int(after.min), int(after.min) + int(after.extent))
        for each in stores
    ]
    assert len(stores) == ways
    assert written == [LANES * each for each in range(first, first + extent)]


def _loop(extent: int, kind: Any, target: Callable[[Any], Any], value: Callable[[Any, Any, Any], Any]) -> Any:
    a, y = buffers("a", "y")
    i = tirx.Var("i", "int32")
    body = store(y, target(i), value(a, y, i))
    return function([a, y], tirx.For(i, 0, extent, kind, body))


@pytest.mark.parametrize(
    "loop",
    [
        _loop(11, tirx.ForKind.SERIAL, lambda i: i * LANES, lambda a, y, i: chain(vector(a, i * LANES))),
        _loop(16, tirx.ForKind.PARALLEL, lambda i: i * LANES, lambda a, y, i: chain(vector(a, i * LANES))),
        # A sum: each iteration waits for the one before.
        _loop(
            5, tirx.ForKind.SERIAL, lambda i: 0, lambda a, y, i: hidden.add(vector(y, 0), chain(vector(a, i * LANES)))
        ),
    ],
    ids=["no divisor", "parallel", "sum"],
)
def test_other_loops_keep_their_iterations(loop: Any) -> None:
    after = write_out(loop).body
    assert int(after.extent) == int(loop.body.extent)
    assert sum(isinstance(each, tirx.BufferStore) and each.buffer.name == "y" for each in flat(after.body)) == 1


def test_what_one_side_of_a_choice_reads_only_that_side_reads() -> None:
    """Beyond the border lies other memory."""
    a, y = buffers("a", "y")
    i = tirx.Var("i", "int32")
    guarded = tirx.if_then_else(i < 1000, hidden.function("exp", vector(a, i)), tirx.Broadcast(tirx.const(0.0), LANES))
    after = write_out(function([a, y, i], store(y, 0, hidden.add(guarded, guarded))))
    assert not has_hidden(after.body)
    loads: list[Any] = []
    conditional: list[Any] = []

    def note(found: list[Any]) -> Callable[[Any], None]:
        return lambda load: found.append(load) if load.source.same_as(a) else None

    tvm_ffi.structural_walk(after.body, (tvm.ir.TensorLoad, note(loads)))
    tvm_ffi.structural_walk(
        after.body,
        (tirx.IfThenElse, lambda choice: tvm_ffi.structural_walk(choice, (tvm.ir.TensorLoad, note(conditional)))),
    )
    assert len(loads) == len(conditional) == 2


@pytest.mark.timeout(60)
@pytest.mark.parametrize("operator", [relax.op.tanh, relax.op.erf, relax.op.nn.silu, relax.op.nn.leakyrelu])
def test_functions_of_functions_are_compiled_in_time_that_is_linear_in_their_depth(operator: Any) -> None:
    def nested(x: Any) -> Any:
        for _ in range(12):
            x = operator(x)
        return x

    data = np.linspace(-3, 3, 1000, dtype="float32")
    exact = data.astype("float64")
    for _ in range(12):
        exact = {
            "relax.tanh": np.tanh,
            "relax.erf": np.vectorize(math.erf),
            "relax.nn.leakyrelu": lambda x: np.where(x < 0, x * 0.01, x),
            "relax.nn.silu": lambda x: x / (1 + np.exp(-x)),
        }[str(operator(relax.const(1.0)).op.name)](exact)
    np.testing.assert_allclose(Runner()(nested, data), exact, rtol=1e-5)


@pytest.mark.parametrize("operator", [relax.op.nn.silu, relax.op.nn.gelu, relax.op.nn.softmax])
def test_the_same_numbers_in_turn_and_alone(monkeypatch: pytest.MonkeyPatch, operator: Any) -> None:
    data = np.random.default_rng(7).standard_normal((24, 192)).astype("float32") * 4
    together = Runner()(operator, data)
    monkeypatch.setattr(module, "_WAYS", 1)
    apart = Runner()(operator, data)
    assert np.abs(together).max() > 0.5
    np.testing.assert_array_equal(together, apart)


WIDTHS = (3, 17, 24, 40, 48, 56, 72, 80, 112, 144, 240, 600, 1000, 8400)


@pytest.mark.sweep(3)
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


def long_chain(value: Any) -> Any:
    """Two SiLUs."""
    return chain(chain(value))


@pytest.mark.parametrize(("registers", "ways"), [(16, 4), (32, 8)])
def test_fewer_long_chains_alternate_in_few_registers(registers: int, ways: int) -> None:
    a, y = buffers("a", "y")
    stores = [store(y, 8 * each, long_chain(vector(a, 8 * each))) for each in range(8)]
    after = write_out(function([a, y], *stores), registers=registers)
    expected = [step for first in range(0, 8, ways) for step in in_turn(*stores[first : first + ways])]
    tvm.ir.assert_structural_equal(tirx.SeqStmt(flat(after.body)), tirx.SeqStmt(expected), map_free_vars=True)


def test_a_long_function_of_many_stores_is_a_loop_over_memory() -> None:
    a, b, y = buffers("a", "b", "y")
    held = tirx.decl_buffer([8 * LANES], "float32", "held", scope="local")
    turn = tirx.Var("turn", "int32")

    def gelu(loaded: Any) -> Any:
        return hidden.function("gelu", loaded)

    def of_results(results: Callable[[int], Any]) -> list[Any]:
        return [store(y, LANES * at, hidden.add(vector(b, LANES * at), results(at))) for at in range(8)]

    before = of_results(lambda at: gelu(hidden.multiply(vector(a, LANES * at), vector(a, LANES * at))))
    places = [(turn * 4 + way) * LANES for way in range(4)]
    computed = in_turn(*(store(held, at, gelu(vector(held, at))) for at in places))
    given = [store(held, LANES * at, hidden.multiply(*[vector(a, LANES * at)] * 2)) for at in range(8)]
    expected = [
        tirx.AllocBuffer(held),
        *flat(write_out(function([a], *given)).body),
        tirx.For(turn, 0, 2, tirx.ForKind.SERIAL, tirx.SeqStmt(computed)),
        *flat(write_out(function([b, y], *of_results(lambda at: vector(held, LANES * at)))).body),
    ]
    after = write_out(function([a, b, y], *before), registers=16)
    tvm.ir.assert_structural_equal(tirx.SeqStmt(flat(after.body)), tirx.SeqStmt(expected), map_free_vars=True)


@pytest.mark.parametrize("cpu", ["x86-64", "x86-64-v3"])
def test_the_same_numbers_in_a_loop_and_written_out(monkeypatch: pytest.MonkeyPatch, cpu: str) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    if not set(target.required_features) <= set(targets.parse("host").required_features):
        pytest.skip("this machine lacks the instructions")
    rng = np.random.default_rng(8)
    x, weights = (rng.standard_normal(shape).astype("float32") for shape in ((48, 40), (40, 96)))
    loops: list[int] = []
    looped = module._Writer._looped

    def counted(writer: Any, stores: list[Any], calls: list[Any], ways: int) -> Any:
        loops.append(ways)
        return looped(writer, stores, calls, ways)

    def dense(data: Any, kernel: Any) -> Any:
        return relax.op.nn.gelu(relax.op.matmul(data, kernel))

    monkeypatch.setattr(module._Writer, "_looped", counted)
    together = Runner()(dense, x, weights, target=target)
    assert loops
    monkeypatch.setattr(module, "_WAYS_OF_LONG", 1)
    loops.clear()
    apart = Runner()(dense, x, weights, target=target)
    assert not loops
    assert np.abs(together).max() > 5
    np.testing.assert_array_equal(together, apart)

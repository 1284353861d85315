"""Hidden float operators written out: nothing simplified, functions of several vectors in turn, the same numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm_ffi
from kernel_runner import Runner
from tilewright.compiler.float_steps import has_hidden
from tilewright.compiler.write_out import write_out
from tilewright.floats import hidden
from tvm import relax, tirx

LANES = 8
# Register widths of every level divide some of them, and some are an odd number of registers.
WIDTHS = (24, 40, 48, 56, 72, 80, 112, 144, 240, 600, 1000, 8400)


def vector(buffer: Any, start: int) -> Any:
    return tirx.BufferLoad(buffer, [tirx.Ramp(start, 1, LANES)])


def stored(value: Callable[[Any], Any], count: int) -> Any:
    """A function that stores value(a) of `count` vectors, one after the other."""
    a, y = (tirx.decl_buffer([1024], "float32", name) for name in "ay")
    stores = [
        tirx.BufferStore(y, value(vector(a, start)), [tirx.Ramp(start, 1, LANES)])
        for start in range(0, count * LANES, LANES)
    ]
    return tirx.PrimFunc([a, y], tirx.SeqStmt(stores) if count > 1 else stores[0])


def stores_to(function: Any, name: str) -> list[int]:
    """At which places among all the statements a buffer is stored to."""
    order: list[str] = []
    tvm_ffi.structural_walk(function.body, (tirx.BufferStore, lambda store: order.append(str(store.buffer.name))))
    return [at for at, each in enumerate(order) if each == name]


def test_sums_that_cancel_stay() -> None:
    magic = tirx.Broadcast(tirx.const(12582912.0, "float32"), LANES)
    after = write_out(stored(lambda x: hidden.subtract(hidden.add(x, magic), magic), 1))
    assert not has_hidden(after.body)
    found: list[str] = []
    for kind in (tirx.Add, tirx.Sub):
        tvm_ffi.structural_walk(after.body, (kind, lambda node: found.append(type(node).__name__)))
    assert sorted(found) == ["Add", "Sub"]


def test_steps_of_several_vectors_stand_in_turn() -> None:
    """Every vector is stored after the last step of all, where one alone would be stored at once."""
    after = write_out(stored(lambda x: hidden.function("sigmoid", x), 3))
    assert not has_hidden(after.body)
    first, *_, last = stores_to(after, "y")
    assert last - first == 2
    assert first > 3 * 10  # the steps of three chains


def test_what_waits_for_a_vector_is_not_moved_before_it() -> None:
    y = tirx.decl_buffer([1024], "float32", "y")
    chain = [
        tirx.BufferStore(y, hidden.function("exp", vector(y, start)), [tirx.Ramp(start + LANES, 1, LANES)])
        for start in (0, LANES)
    ]
    after = write_out(tirx.PrimFunc([y], tirx.SeqStmt(chain)))
    first, second = stores_to(after, "y")
    assert second - first > 5  # the steps of the second stand between


def test_without_hidden_operators_nothing_changes() -> None:
    before = stored(lambda x: x, 2)
    assert write_out(before).same_as(before)


@pytest.mark.parametrize("width", WIDTHS)
def test_functions_and_their_sums_over_every_width(width: int) -> None:
    data = np.random.default_rng(width).standard_normal((3, width)).astype("float32") * 3
    wide = data.astype("float64")
    sigmoid = 1 / (1 + np.exp(-wide))

    def both(x: Any) -> Any:
        total = relax.op.sum(relax.op.exp(relax.op.tanh(x)), axis=[-1], keepdims=True)
        return relax.op.add(relax.op.nn.silu(x), total)

    expected = wide * sigmoid + np.exp(np.tanh(wide)).sum(-1, keepdims=True)
    np.testing.assert_allclose(Runner()(both, data), expected, rtol=2e-6)


@pytest.mark.timeout(60)
def test_the_time_to_compile_grows_with_the_depth_of_functions_alone() -> None:
    data = np.linspace(-3, 3, 1024, dtype="float32")

    def deep(x: Any) -> Any:
        for _ in range(5):
            x = relax.op.tanh(relax.op.erf(relax.op.exp(x)))
        return x

    expected = data.astype("float64")
    erf = np.vectorize(math.erf)
    for _ in range(5):
        expected = np.tanh(erf(np.exp(expected)))
    np.testing.assert_allclose(Runner()(deep, data), expected, rtol=1e-6)


def test_numbers_that_are_not_finite_and_signs_of_zero() -> None:
    x = np.array([1, -0.0, 0.0, np.inf, -np.inf, np.nan, 3e38, 1e-40], "float32")
    zero = relax.const(np.float32(0))

    def check(build: Any, expected: Any) -> None:
        result = Runner()(build, x)
        np.testing.assert_array_equal(result, expected)
        np.testing.assert_array_equal(np.signbit(result[~np.isnan(result)]), np.signbit(expected[~np.isnan(result)]))

    with np.errstate(all="ignore"):
        check(lambda a: relax.op.multiply(a, zero), x * np.float32(0))
        check(lambda a: relax.op.subtract(a, a), x - x)
        check(lambda a: relax.op.divide(a, a), x / x)
        check(lambda a: relax.op.divide(a, zero), x / np.float32(0))
        check(lambda a: relax.op.negative(a), -x)
    not_less = Runner()(lambda a: relax.op.logical_not(relax.op.less(a, zero)), x)
    np.testing.assert_array_equal(not_less, ~(x < 0))

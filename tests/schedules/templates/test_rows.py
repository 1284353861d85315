"""The rows template: softmax, normalisations and reductions along last axes, of lengths that fit registers or not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, random, relative_error
from tvm import relax
from tvm.relax import Expr

SHAPES = [(5, 64), (1, 1000), (3, 197), (2, 3, 7), (4, 1), (17,), (2, 4, 128)]


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax(run: Runner, shape: tuple[int, ...]) -> None:
    data = random(*shape) * 4
    powers = np.exp((data - data.max(-1, keepdims=True)).astype("float64"))
    assert relative_error(run(relax.op.nn.softmax, data), powers / powers.sum(-1, keepdims=True)) < TOLERANCE
    assert run.templates == ["rows"]


def test_softmax_of_masked_and_large_values(run: Runner) -> None:
    data = np.array([[1e4, 1e4 - 1, -np.inf, 0.0], [-3e38, -3e38, 0.0, -1e9]], "float32")
    expected = [[1 / (1 + np.exp(-1)), np.exp(-1) / (1 + np.exp(-1)), 0, 0], [0, 0, 1, 0]]
    assert np.allclose(run(relax.op.nn.softmax, data), expected, atol=1e-6)


@pytest.mark.parametrize("operator", [relax.op.nn.softmax, relax.op.nn.log_softmax])
def test_one_long_row_takes_linear_time(run: Runner, operator: Callable[..., Expr]) -> None:
    """Where a tensor has no other axis, what all elements share is computed once, and not on the stack."""
    data = random(300_000)
    data[-1] = 14  # so that one is likely
    shifted = (data - data.max()).astype("float64")
    expected = shifted - np.log(np.exp(shifted).sum())
    expected = np.exp(expected) if operator is relax.op.nn.softmax else expected
    assert relative_error(run(operator, data), expected) < TOLERANCE
    assert run.templates == ["rows"]


@pytest.mark.parametrize("shape", [(5, 64), (3, 197), (9,)])
def test_log_softmax(run: Runner, shape: tuple[int, ...]) -> None:
    data = random(*shape).astype("float64")
    shifted = data - data.max(-1, keepdims=True)
    expected = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    assert relative_error(run(relax.op.nn.log_softmax, data.astype("float32")), expected) < TOLERANCE


@pytest.mark.parametrize(
    ("shape", "axes"), [((4, 96), [-1]), ((2, 3, 101), [-1]), ((2, 5, 6, 8), [2, 3]), ((30,), [0])]
)
def test_layer_norm(run: Runner, shape: tuple[int, ...], axes: list[int]) -> None:
    # A large mean shows whether the variance is computed from the centred values.
    data = random(*shape) + 100
    inner = tuple(shape[axis] for axis in axes)
    gamma, beta = random(*inner, seed=1), random(*inner, seed=2)
    constants = [relax.const(array) for array in (gamma, beta)]
    actual = run(lambda x: relax.op.nn.layer_norm(x, *constants, axes=axes, epsilon=1e-5), data)
    exact = data.astype("float64")
    mean, variance = (f(exact, axis=tuple(axes), keepdims=True) for f in (np.mean, np.var))
    # The input itself is rounded to 1 in 2**24 of 100, which the division by the deviation of 1 keeps.
    assert relative_error(actual, (exact - mean) / np.sqrt(variance + 1e-5) * gamma + beta) < 2e-5
    assert run.templates == ["rows"]


def test_rms_norm(run: Runner) -> None:
    data, weight = random(6, 72), random(72, seed=1)
    constant = relax.const(weight)
    actual = run(lambda x: relax.op.nn.rms_norm(x, constant, axes=[-1], epsilon=1e-6), data)
    expected = data / np.sqrt((data.astype("float64") ** 2).mean(-1, keepdims=True) + 1e-6) * weight
    assert relative_error(actual, expected) < TOLERANCE


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    shape=st.lists(st.integers(1, 20), min_size=1, max_size=4),
    name=st.sampled_from(["sum", "mean", "max", "min", "prod"]),
    keepdims=st.booleans(),
    data=st.data(),
)
def test_any_reduction(run: Runner, shape: list[int], name: str, keepdims: bool, data: st.DataObject) -> None:
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1).map(sorted))
    # Near 1, so that products neither vanish nor overflow.
    array = 1 + 0.1 * random(*shape)
    actual = run(lambda x: getattr(relax.op, name)(x, axes, keepdims=keepdims), array)
    expected = getattr(np, name)(array.astype("float64"), axis=tuple(axes), keepdims=keepdims)
    # A product's error grows with the number of its factors.
    assert relative_error(np.asarray(actual), np.asarray(expected)) < (1e-4 if name == "prod" else TOLERANCE)


def test_reduction_of_integers(run: Runner) -> None:
    array = np.random.default_rng(0).integers(-50, 50, (6, 37))
    assert np.array_equal(run(lambda x: relax.op.sum(x, [1]), array), array.sum(1))


@pytest.mark.parametrize("axis", [0, 1])
def test_extremes_of_infinities_alone(run: Runner, axis: int) -> None:
    array = np.full((16, 24), -np.inf, "float32")
    assert np.array_equal(run(lambda x: relax.op.max(x, [axis]), array), array.max(axis))
    assert np.array_equal(run(lambda x: relax.op.min(x, [axis]), -array), (-array).min(axis))

"""Functions and arithmetic of floats in kernels: every width, any depth, and what is not finite."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_runner import Runner
from tvm import relax

# Register widths of every level divide some of them, and some are an odd number of registers.
WIDTHS = (24, 40, 48, 56, 72, 80, 112, 144, 240, 600, 1000, 8400)


@pytest.mark.sweep(3)
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

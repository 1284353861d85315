"""Weights that are integers times a step already keep both."""

from __future__ import annotations

import numpy as np
import pytest
from tilewright.ir_passes.quantization.quantize_weights import in_blocks, rounded
from tilewright.ir_passes.quantization.weight_integers import WeightBits, weight_integers
from tilewright.ir_passes.quantization.weight_steps import own_steps

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("bits", [8, 4])
def test_integers_are_found_again(bits: int, granularity: str) -> None:
    """Though no largest weight is the largest integer; and after each column was scaled, as by a batch norm."""
    most = 2 ** (bits - 1) - 1
    integers = RNG.integers(1 - most, most, (40, 3, 5, 2), endpoint=False)
    integers[3] //= 4
    integers[:, 0, 0, 0] = most - 1 - np.arange(40) % 3
    integers[4] = 0
    steps = RNG.uniform(0.001, 0.1, (40, 1, 1, 1) if granularity == "channel" else ()).astype("f4")
    weights = (integers * steps).astype("f4")
    found, scales = weight_integers(weights, 0, WeightBits(bits, granularity))
    np.testing.assert_allclose(found * scales, weights, rtol=1e-6)
    if granularity == "channel":
        factors = RNG.uniform(0.1, 10, (40, 1, 1, 1)).astype("f4")
        again, _ = weight_integers(weights * factors, 0, WeightBits(bits))
        np.testing.assert_array_equal(again, found)


def test_other_weights_are_rounded_as_ever() -> None:
    weights = RNG.standard_normal((64, 33)).astype("f4")
    found, scales = weight_integers(weights, 1, WeightBits())
    np.testing.assert_array_equal(scales, (np.abs(weights).max(0, keepdims=True) / np.float64(127)).astype("f4"))
    np.testing.assert_array_equal(found, np.rint(weights / scales))
    assert not own_steps(weights[None], -127, 127).any()


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 96), (8, 96)])
def test_blocks_are_found_again(bits: int, block: int) -> None:
    lowest = -(1 << (bits - 1))
    integers = RNG.integers(lowest + 2, -lowest - 1, (96 // block, block, 20))
    steps = RNG.uniform(0.01, 0.1, (96 // block, 1, 20)).astype("f4")
    weights = (integers * steps).astype("f4").reshape(96, 20)
    found, scales = in_blocks(weights, bits, block)
    np.testing.assert_allclose(found * scales, weights, rtol=1e-6)
    # By one block alone, as well.
    again, scale = rounded(weights[None, :block], bits)
    np.testing.assert_allclose((again * scale)[0], weights[:block], rtol=1e-6)


def test_columns_of_nothing_and_of_little() -> None:
    weights = np.zeros((1, 4, 3), "f4")
    weights[0, 1, 1] = 2.0
    np.testing.assert_allclose(own_steps(weights, -127, 127)[0, 0], [0, 2 / 127, 0])
    assert own_steps(np.full((1, 3, 1), np.nan, "f4"), -7, 7) == 0

"""Rounding by second order, against rounding to the nearest and against all ways to round."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from tilewright.ir_passes.compression.second_order import damped, output_error
from tilewright.ir_passes.quantization.quantize_weights import in_blocks
from tilewright.ir_passes.quantization.round_by_second_order import rounded_in_blocks, rounded_with_steps
from tilewright.ir_passes.quantization.weight_integers import WeightBits, weight_integers

RNG = np.random.default_rng(8)


def moments(inputs: int, rank: int) -> Any:
    data = RNG.standard_normal((600, rank)) @ RNG.standard_normal((rank, inputs)) + 0.1 * RNG.standard_normal(
        (600, inputs)
    )
    return data.T @ data


@pytest.mark.parametrize(("bits", "granularity"), [(8, "channel"), (4, "channel"), (4, "tensor")])
def test_outputs_lose_less_than_with_the_nearest_integers(bits: int, granularity: str) -> None:
    weights, gram = RNG.standard_normal((2, 24, 150)), np.stack([moments(150, 40), moments(150, 40)])
    asked = WeightBits(bits, granularity)

    found = rounded_with_steps(weights, [gram], asked)

    flat = weights.transpose(2, 0, 1).reshape(150, 48).astype("f4")
    integers, scales = weight_integers(flat, 1, asked)
    nearest = (integers * scales).reshape(150, 2, 24).transpose(1, 2, 0)
    assert output_error(found, weights, gram) < 0.6 * output_error(nearest, weights, gram)
    # And a compile finds these integers.
    kept, steps = weight_integers(found.transpose(2, 0, 1).reshape(150, 48).astype("f4"), 1, asked)
    np.testing.assert_allclose((kept * steps).reshape(150, 2, 24).transpose(1, 2, 0), found, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("bits", "block"), [(4, 32), (4, 150), (8, 150)])
def test_blocks_of_weights(bits: int, block: int) -> None:
    weights, gram = RNG.standard_normal((24, 150)), moments(150, 40)

    found = rounded_in_blocks(weights, [gram], bits, block)

    integers, scales = in_blocks(weights.T.astype("f4"), bits, block)
    errors = [output_error(each[None], weights[None], gram[None]) for each in (found, (integers * scales).T)]
    assert errors[0] < 0.7 * errors[1]
    kept, steps = in_blocks(found.T.astype("f4"), bits, block)
    np.testing.assert_allclose((kept * steps).T, found, rtol=1e-5, atol=1e-9)


def test_it_is_near_the_best_of_all_roundings() -> None:
    """Of five weights of three bits: two thirds of the way, at most, from the best to the nearest."""
    gram = damped(moments(5, 3))
    weights = RNG.standard_normal((12, 5))
    steps = np.abs(weights).max(1) / 3
    found = rounded_with_steps(weights[None], [gram[None]], WeightBits(3))[0]
    lost = []
    for row, step, ours in zip(weights, steps, found, strict=True):
        ways = np.array(list(product(range(-3, 4), repeat=5))) * step - row
        best = ((ways @ gram) * ways).sum(1).min()
        nearest = np.clip(np.rint(row / step), -3, 3) * step - row
        lost.append([best, (ours - row) @ gram @ (ours - row), nearest @ gram @ nearest])
    best, ours, nearest = np.sum(lost, axis=0)
    assert best <= ours < best + 2 * (nearest - best) / 3


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    weights, gram = RNG.standard_normal((3, 20)), moments(20, 8)
    gram[5], gram[:, 5] = 0, 0
    assert np.isfinite(rounded_in_blocks(weights, [gram], 4, 32)).all()
    assert np.isfinite(rounded_with_steps(weights[None], [0 * gram[None]], WeightBits())).all()

"""Second-order pruning and least squares, against plain linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tilewright.ir_passes.compression.masks import Pattern, keep
from tilewright.ir_passes.compression.reconstruct import following, reconstructed
from tilewright.ir_passes.compression.second_order import damped, output_error, prune_by_second_order

Array = Any


def correlated(inputs: int, seed: int = 0) -> Array:
    """Second moments of inputs that depend on each other."""
    generator = np.random.default_rng(seed)
    data = generator.standard_normal((4 * inputs, inputs // 3)) @ generator.standard_normal((inputs // 3, inputs))
    data += 0.3 * generator.standard_normal(data.shape)
    return data.T @ data / len(data)


@pytest.mark.parametrize("pattern", [Pattern(), Pattern(4, 1), Pattern(kept=2, among=4), Pattern(2, 3)])
def test_it_loses_less_than_the_smallest_weights(pattern: Pattern) -> None:
    weights, moments = np.random.default_rng(1).standard_normal((24, 150)), correlated(150)

    pruned, mask = prune_by_second_order(weights, moments, pattern, 0.5)

    by_magnitude = np.where(keep(weights[None] ** 2, pattern, 0.5)[0], weights, 0)
    second, first = (output_error(each[None], weights[None], moments[None]) for each in (pruned, by_magnitude))
    assert second < 0.7 * first
    assert not pruned[~mask].any()
    assert abs(mask.mean() - 0.5) < 0.03


def test_one_weight_is_dropped_as_the_closed_form_says() -> None:
    """Of one row, one weight: the one of the least w^2 / [H^-1]_ii, the others by OBS's update."""
    weights, moments = np.random.default_rng(1).standard_normal((1, 12)), correlated(12)
    inverse = np.linalg.inv(damped(moments))

    # The first column goes, and what is behind it takes over.
    weights[0, 0] = 1e-3
    pruned, mask = prune_by_second_order(weights, moments, Pattern(), 1 / 12)

    assert not mask[0, 0] and mask[0, 1:].all()
    np.testing.assert_allclose(pruned[0, 1:], (weights[0] - weights[0, 0] / inverse[0, 0] * inverse[0])[1:], atol=1e-12)


def test_least_squares_are_those_of_linear_algebra() -> None:
    weights, moments = np.random.default_rng(1).standard_normal((6, 40)), correlated(40)
    mask = np.random.default_rng(2).random((6, 40)) < 0.4

    found = reconstructed(weights, mask, moments)

    hessian = damped(moments)
    for row in range(6):
        kept = mask[row]
        exact = np.linalg.solve(hessian[np.ix_(kept, kept)], (hessian @ weights[row])[kept])
        np.testing.assert_allclose(found[row, kept], exact, rtol=1e-4, atol=1e-5)
        assert not found[row, ~kept].any()


def test_weights_follow_what_a_layer_reads() -> None:
    """Of inputs that were scaled and mixed it makes what it made of them before; of the same ones, too."""
    generator = np.random.default_rng(1)
    weights, data = generator.standard_normal((6, 10)), generator.standard_normal((500, 10))
    moved = data @ (np.eye(10) + 0.1 * generator.standard_normal((10, 10)))

    found = following(weights, moved.T @ moved, moved.T @ data)

    before, after = (np.linalg.norm(moved @ each.T - data @ weights.T) for each in (weights, found))
    assert after < 0.1 * before
    gram = data.T @ data
    np.testing.assert_array_equal(following(weights, gram, gram), weights)


def test_what_is_kept_throughout_stays() -> None:
    weights, moments = np.random.default_rng(1).standard_normal((3, 20)), correlated(20)

    np.testing.assert_array_equal(reconstructed(weights, np.ones((3, 20), bool), moments), weights)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    weights, moments = np.random.default_rng(1).standard_normal((3, 20)), correlated(20)
    moments[5], moments[:, 5] = 0, 0

    pruned, mask = prune_by_second_order(weights, moments, Pattern(), 0.5)

    assert np.isfinite(pruned).all() and np.isfinite(reconstructed(weights, mask, moments, pruned)).all()
    assert not mask.all()
    assert np.isfinite(reconstructed(weights, mask, np.zeros((20, 20)))).all()

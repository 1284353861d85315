"""Normal equations against numpy's own least squares."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tilewright.ir_passes.compression.least_squares import NormalEquations, best_ridge


@pytest.mark.parametrize("intercept", [False, True])
def test_pieces_give_the_least_squares_of_the_whole(intercept: bool) -> None:
    rng = np.random.default_rng(0)
    columns, results = rng.standard_normal((200, 6)) + 1, rng.standard_normal((200, 3)) + 2
    equations = NormalEquations.of(6, 3)
    for rows in np.array_split(np.arange(200), 7):
        equations.add(columns[rows], results[rows])

    weights, shift = equations.solve(rng.standard_normal((6, 3)), 0.0, intercept=intercept)

    whole = np.column_stack([columns, np.ones(200)]) if intercept else columns
    want = np.linalg.lstsq(whole, results, rcond=None)[0]
    np.testing.assert_allclose(weights, want[:6], atol=1e-10)
    np.testing.assert_allclose(shift, want[6] if intercept else 0, atol=1e-10)


def test_what_the_data_does_not_decide_stays() -> None:
    equations = NormalEquations.of(2, 1)
    equations.add(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[3.0], [6.0]]))

    weights, _ = equations.solve(np.array([[1.0], [7.0]]), 1e-9, intercept=False)

    np.testing.assert_allclose(weights, [[3.0], [7.0]], atol=1e-6)


def parts_of(columns: np.ndarray[Any, Any], results: np.ndarray[Any, Any]) -> list[NormalEquations]:
    """Equations of two halves of rows."""
    found = []
    for rows in np.array_split(np.arange(len(columns)), 2):
        equations = NormalEquations.of(columns.shape[1], results.shape[1])
        equations.add(columns[rows], results[rows])
        found.append(equations)
    return found


def test_errors_and_sums_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(1)
    columns, results, weights, shift = (rng.standard_normal(shape) for shape in ((30, 5), (30, 2), (5, 2), (2,)))
    one, other = parts_of(columns, results)

    both = one + other

    assert both.rows == 30
    assert both.error(weights, shift) == pytest.approx(np.square(results - columns @ weights - shift).sum())
    assert both.error(weights, shift) == pytest.approx(one.error(weights, shift) + other.error(weights, shift))


@pytest.mark.parametrize("intercept", [False, True])
def test_rows_that_were_left_out_say_how_far_weights_move(intercept: bool) -> None:
    """Few noisy rows leave weights where they were; many move them."""
    rng = np.random.default_rng(2)
    before, moved = rng.standard_normal((40, 3)), rng.standard_normal((40, 3))
    ridges = (1e-3, 1e-1, 10.0)

    few = rng.standard_normal((50, 40))
    noisy = few @ before + 5 * rng.standard_normal((50, 3))
    many = rng.standard_normal((4000, 40))

    assert best_ridge(parts_of(few, noisy), before, ridges, intercept=intercept) == 10.0
    assert best_ridge(parts_of(many, many @ moved), before, ridges, intercept=intercept) == 1e-3
    (_, *one) = parts_of(few, noisy)
    assert best_ridge([*one, NormalEquations.of(40, 3)], before, ridges, intercept=intercept) == 1e-3, "nothing to tell"

"""Normal equations against numpy's own least squares."""

from __future__ import annotations

import numpy as np
import pytest
from tilewright.ir_passes.compression.least_squares import NormalEquations


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

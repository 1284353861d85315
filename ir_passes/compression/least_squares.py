"""Least squares over data that comes piece by piece: normal equations, with a ridge towards weights known before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.constants import Array


@dataclass
class NormalEquations:
    """Sums over rows of X^T X, X^T Y and Y^2, and of the columns themselves: memory does not grow with the data.

    Attributes:
        gram: float64[columns, columns].
        cross: float64[columns, results].
        energy: the sum of all squared results.
        column_sums, result_sums: over rows.
        rows: how many.
    """

    gram: Array
    cross: Array
    energy: float
    column_sums: Array
    result_sums: Array
    rows: int = 0

    @staticmethod
    def of(columns: int, results: int) -> NormalEquations:
        """No rows yet."""
        return NormalEquations(
            np.zeros((columns, columns)), np.zeros((columns, results)), 0.0, np.zeros(columns), np.zeros(results)
        )

    def add(self, columns: Array, results: Array) -> None:
        """Takes rows into account, [rows, columns] and [rows, results]."""
        self.gram += columns.T @ columns
        self.cross += columns.T @ results
        self.energy += float((results * results).sum())
        self.column_sums += columns.sum(axis=0)
        self.result_sums += results.sum(axis=0)
        self.rows += len(columns)

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Those of the rows of both."""
        return NormalEquations(
            self.gram + other.gram,
            self.cross + other.cross,
            self.energy + other.energy,
            self.column_sums + other.column_sums,
            self.result_sums + other.result_sums,
            self.rows + other.rows,
        )

    def error(self, weights: Array, shift: Array) -> float:
        """The sum of squares that weights, and constants added to the results, leave of the rows.

        Args:
            weights: float64[columns, results].
            shift: float64[results].
        """
        products = float(np.vdot(weights, self.gram @ weights - 2 * self.cross))
        constants = shift @ (self.rows * shift + 2 * (self.column_sums @ weights - self.result_sums))
        return self.energy + products + float(constants)

    def solve(self, before: Array, ridge: float, *, intercept: bool) -> tuple[Array, Array]:
        """The weights with the least squared error, and the constants to add to each result.

        Args:
            before: float64[columns, results]: what the ridge pulls the weights towards, so that columns of which the
                data says little stay as they were.
            ridge: its strength, in units of the mean square of a column.
            intercept: whether there are constants to add; otherwise these are zero.
        """
        gram, cross = self.gram, self.cross
        rows = max(1, self.rows)
        means, result_means = self.column_sums / rows, self.result_sums / rows
        if intercept:
            gram = gram - rows * np.outer(means, means)
            cross = cross - rows * np.outer(means, result_means)
        damped = gram + np.eye(len(gram)) * (ridge * max(float(np.trace(self.gram)) / max(1, len(gram)), 1e-30))
        weights = before + np.linalg.solve(damped, cross - gram @ before)
        shift = result_means - means @ weights if intercept else np.zeros(len(result_means))
        return weights, shift


def best_ridge(parts: Sequence[NormalEquations], before: Array, ridges: Sequence[float], *, intercept: bool) -> float:
    """Of some strengths of the ridge the one whose weights, solved without a part, leave the least error of that part.

    So few rows for their columns, or noisy ones, keep weights where they were, and many do not.

    Args:
        parts: rows that have nothing to do with each other; those without rows do not count.
        before, intercept: as `NormalEquations.solve` takes them.
        ridges: the strengths; where there is nothing to tell them by, the first.
    """
    filled = [part for part in parts if part.rows]
    if len(filled) < 2:
        return ridges[0]

    def left(ridge: float) -> float:
        error = 0.0
        for number, part in enumerate(filled):
            first, *others = (*filled[:number], *filled[number + 1 :])
            rest = sum(others, first)
            error += part.error(*rest.solve(before, ridge, intercept=intercept))
        return error

    return min(ridges, key=left)

"""Least squares over data that comes piece by piece: normal equations, with a ridge towards weights known before."""

from __future__ import annotations

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

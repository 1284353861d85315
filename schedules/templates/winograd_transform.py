"""The matrices of Winograd's minimal filtering, and sums by their rows; `winograd.py` is the algorithm around them.

The matrices come from the Toom-Cook construction (S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin
and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016). Its error grows with the spread of the
interpolation points: 0, +-3/4, +-3/2 and infinity, where the customary 0, +-1, +-2 and infinity lose four times more,
make F(4, 3) as accurate in float32 as adding the products one by one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import tirx

from ...ir_types import Scalar
from ..tensorir.expressions import scalar_dtype

TAPS = 3
_POINTS = {
    2: (Fraction(0), Fraction(1), Fraction(-1)),
    4: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
}
OUTPUTS = tuple(_POINTS)
# With these m products of integers are integers if weights are multiplied with 2, the largest divisor of G, along both
# axes; the bits that results are shifted by.
INTEGER_OUTPUTS, INTEGER_SHIFT = (2,), 2
Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Transform:
    """F(m, 3) along one axis.

    Attributes:
        outputs: m.
        data: B^T of shape (t, t).
        weights: G of shape (t, 3).
        results: A^T of shape (m, t).
    """

    outputs: int
    data: Matrix
    weights: Matrix
    results: Matrix

    @property
    def inputs(self) -> int:
        """t, the extent of a tile of the input."""
        return self.outputs + TAPS - 1


@cache
def transform(outputs: int) -> Transform:
    """The matrices of F(outputs, 3), by Toom-Cook with the points above and infinity."""
    points = _POINTS[outputs]
    finite = len(points)
    rows_of_data = [_polynomial([other for other in points if other != point]) for point in points]
    data = [[*row, Fraction(0)] for row in rows_of_data] + [_polynomial(points)]
    weights, results = [], []
    for point in points:
        scale = math.prod((point - other for other in points if other != point), start=Fraction(1))
        weights.append([point**power / scale for power in range(TAPS)])
        results.append([point**power for power in range(outputs)])
    weights.append([Fraction(int(power == TAPS - 1)) for power in range(TAPS)])
    results.append([Fraction(int(power == outputs - 1)) for power in range(outputs)])
    assert finite + 1 == outputs + TAPS - 1
    return Transform(outputs, _matrix(data), _matrix(weights), _matrix(results).T)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the product of (x - root)."""
    product = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *product]
        product = [high - root * low for high, low in zip(shifted, [*product, Fraction(0)], strict=True)]
    return product


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return np.array([[float(value) for value in row] for row in rows])


def transformed_weights(weights: npt.NDArray[np.generic], outputs: int) -> npt.NDArray[np.generic]:
    """G g G^T.

    Args:
        weights: (output channels, 3, 3, input channels), float32 or int8.

    Returns:
        (t * t, output channels, input channels), computed in float64; of int8 4 times that in int16, which is exact.
    """
    matrix = transform(outputs).weights
    taps = weights.transpose(1, 2, 0, 3).reshape(TAPS * TAPS, -1)
    scale, dtype = (1 << INTEGER_SHIFT, np.int16) if weights.dtype == np.int8 else (1, np.float32)
    result = (np.kron(matrix, matrix) @ taps.astype(np.float64) * scale).astype(dtype)
    return result.reshape(-1, weights.shape[0], weights.shape[-1])


def combine(matrix: Matrix, row: Any, element: Any) -> Scalar:
    """Sum over i of ``matrix[row, i] * element(i)``, written out; `row` is to be a constant when loops are unrolled.

    Rows for the points a and -a differ in the sign of every other coefficient. Even and odd terms are summed apart,
    with the same sign in both rows, so that the two rows share all their multiplications.
    """
    choices = [_row(coefficients, element) for coefficients in matrix]
    result = choices[-1]
    for index in range(len(choices) - 2, -1, -1):
        result = tirx.Select(row == index, choices[index], result)
    return result


def _row(coefficients: npt.NDArray[np.float64], element: Any) -> Scalar:
    halves = []
    for parity in range(2):
        terms = [(float(value), i) for i, value in enumerate(coefficients) if i % 2 == parity and value != 0]
        if not terms:
            continue
        sign = math.copysign(1.0, terms[-1][0])
        total: Any = None
        for value, i in terms:
            term = _times(element(i), value * sign)
            total = term if total is None else total + term
        halves.append((sign, total))
    if len(halves) == 1:
        sign, total = halves[0]
        return _times(total, sign)
    (first_sign, first), (second_sign, second) = halves
    if first_sign > 0:
        return first + second if second_sign > 0 else first - second
    return second - first if second_sign > 0 else _times(first + second, -1.0)


def _times(value: Any, factor: float) -> Any:
    """The product in the dtype of the value; of integers the factor is one, too."""
    return value if factor == 1 else value * tirx.const(factor, scalar_dtype(value))

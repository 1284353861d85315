"""The matrices of Winograd's minimal filtering, and sums by their rows; `winograd.py` is the algorithm around them.

The matrices come from the Toom-Cook construction (S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin
and S. Gray, Fast Algorithms for Convolutional Neural Networks, 2016). Its error grows with the spread of the
interpolation points: 0, +-3/4, +-3/2 and infinity, where the customary 0, +-1, +-2 and infinity lose four times more,
make F(4, 3) over both axes of an image as accurate in float32 as adding the products one by one. Tiles of 8 along one
axis lose less than that; nested they would lose more.
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

_ONE = Fraction(1)
# By t, the extent of a tile of the input: all points but infinity.
_POINTS = {
    inputs: (Fraction(0), *(sign * point for point in positive for sign in (1, -1)))
    for inputs, positive in {
        4: (_ONE,),
        6: (_ONE * 3 / 4, _ONE * 3 / 2),
        8: (_ONE / 2, _ONE, _ONE * 7 / 4),
    }.items()
}
_MOST_INPUTS_NESTED = 6  # where both axes have a filter
MOST_OUTPUTS = 4  # m
# With these m, for filters of 3x3, products of integers are integers if weights are multiplied with 2, the largest
# divisor of G, along both axes; the bits that results are shifted by.
INTEGER_TAPS, INTEGER_OUTPUTS, INTEGER_SHIFT = (3, 3), (2,), 2
Matrix = npt.NDArray[np.float64]


def outputs_for(taps: Sequence[int]) -> tuple[int, ...]:
    """All m for a filter of so many taps along each axis: pixels along those axes that have more than one."""
    filtered = [each for each in taps if each > 1]
    inputs = [t for t in _POINTS if len(filtered) == 1 or t <= _MOST_INPUTS_NESTED]
    found = [{t - each + 1 for t in inputs} for each in filtered]
    return tuple(m for m in range(2, MOST_OUTPUTS + 1) if found and all(m in each for each in found))


@dataclass(frozen=True)
class Transform:
    """F(m, r) along one axis; F(1, 1), which changes nothing, along one without a filter.

    Attributes:
        outputs: m.
        taps: r.
        data: B^T of shape (t, t).
        weights: G of shape (t, r).
        results: A^T of shape (m, t).
    """

    outputs: int
    taps: int
    data: Matrix
    weights: Matrix
    results: Matrix

    @property
    def inputs(self) -> int:
        """t, the extent of a tile of the input."""
        return self.outputs + self.taps - 1


@cache
def transform(outputs: int, taps: int) -> Transform:
    """The matrices of F(outputs, taps), by Toom-Cook with the points above and infinity."""
    if outputs == taps == 1:
        return Transform(1, 1, *(np.ones((1, 1)) for _ in range(3)))
    points = _POINTS[outputs + taps - 1]
    rows_of_data = [_polynomial([other for other in points if other != point]) for point in points]
    data = [[*row, Fraction(0)] for row in rows_of_data] + [_polynomial(points)]
    weights, results = [], []
    for point in points:
        scale = math.prod((point - other for other in points if other != point), start=Fraction(1))
        weights.append([point**power / scale for power in range(taps)])
        results.append([point**power for power in range(outputs)])
    weights.append([Fraction(int(power == taps - 1)) for power in range(taps)])
    results.append([Fraction(int(power == outputs - 1)) for power in range(outputs)])
    return Transform(outputs, taps, _matrix(data), _matrix(weights), _matrix(results).T)


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients, constant first, of the product of (x - root)."""
    product = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *product]
        product = [high - root * low for high, low in zip(shifted, [*product, Fraction(0)], strict=True)]
    return product


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Matrix:
    return np.array([[float(value) for value in row] for row in rows])


def transformed_weights(weights: npt.NDArray[np.generic], axes: Sequence[Transform]) -> npt.NDArray[np.generic]:
    """G g G^T.

    Args:
        weights: (output channels, *taps, input channels), float32 or int8.
        axes: of an image: its rows and columns.

    Returns:
        (points, output channels, input channels), computed in float64; of int8 4 times that in int16, which is exact.
    """
    rows, columns = axes
    taps = np.moveaxis(weights, 0, -2).reshape(rows.taps * columns.taps, -1)
    scale, dtype = (1 << INTEGER_SHIFT, np.int16) if weights.dtype == np.int8 else (1, np.float32)
    result = (np.kron(rows.weights, columns.weights) @ taps.astype(np.float64) * scale).astype(dtype)
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

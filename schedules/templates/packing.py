"""The second operand of a contraction in the order its inner loop reads it: packed when compiling if constant."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...annotations import STAGE
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import int64s
from ..tensorir.padding import within
from .contraction import MultiplyAddChoice, Workload, packed_shape, tile_columns


def pack_constant(
    matrix: npt.NDArray[np.generic], workload: Workload, choice: MultiplyAddChoice, target: Target
) -> npt.NDArray[np.generic]:
    """Packs a constant B.

    Args:
        matrix: shape (batch, columns, *k).

    Returns:
        A new array of `packed_shape`; padding columns are zero.
    """
    flat = matrix.reshape(workload.batch, workload.columns, math.prod(workload.k))
    return in_panels(flat, tile_columns(workload, choice, target)).reshape(packed_shape(workload, choice, target))


def in_panels(matrix: npt.NDArray[np.generic], columns: int) -> npt.NDArray[np.generic]:
    """Cuts (batch, all columns, k) into panels of so many columns: (batch, panels, k, columns), zeros at the end."""
    batch, count, k = matrix.shape
    panels = math.ceil(count / columns)
    packed = np.zeros((batch, panels, k, columns), matrix.dtype)
    for panel in range(panels):
        part = matrix[:, panel * columns : (panel + 1) * columns]
        packed[:, panel, :, : part.shape[1]] = part.transpose(0, 2, 1)
    return packed


def pack_at_run_time(
    element: Callable[..., Scalar],
    workload: Workload,
    choice: MultiplyAddChoice,
    target: Target,
    *,
    name: str = "packed",
) -> te.Tensor:
    """A stage that packs B when the kernel runs.

    Args:
        element: the element of B at (batch, column, *k).
    """
    columns = tile_columns(workload, choice, target)

    def packed(batch: tirx.Var, panel: tirx.Var, *rest: tirx.Var) -> Scalar:
        *k, lane = rest
        column = panel * columns + lane
        return within(element(batch, column, *k), column, workload.columns, shape[1] * columns)

    shape = packed_shape(workload, choice, target)
    return te.compute(int64s(shape), packed, name=name, attrs=STAGE.entry("pack"))

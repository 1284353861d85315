"""The second operand of a contraction in the order in which the instructions of a unit for narrow operands read it.

    packed[batch, column // tile_columns, k..., run // depth, vector, run % depth // group, lane, run % group]

where `run` is the innermost part of k; or, where the unit wants groups interleaved, with the last three the other way
round: ``lane, run % group, run % depth // group``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te

from ...annotations import STAGE
from ...ir_types import Scalar
from ...targets.target import DotUnit
from ..tensorir.expressions import int64s
from ..tensorir.padding import within
from .contraction import Workload
from .dot_product_choice import DotProductChoice, depth_of, tile_columns
from .packing import in_panels


def packed_shape(workload: Workload, choice: DotProductChoice, unit: DotUnit) -> tuple[int, ...]:
    """Shape of the packed B."""
    *outer, run = workload.k
    panels, depth = math.ceil(workload.columns / tile_columns(choice, unit)), depth_of(run, unit)
    groups = depth // unit.group
    step = (unit.lanes, unit.group, groups) if unit.interleaved else (groups, unit.lanes, unit.group)
    return (workload.batch, panels, *outer, run // depth, choice.vectors, *step)


def place_in_step(group: Any, lane: Any, term: Any, unit: DotUnit) -> tuple[Any, Any, Any]:
    """The last three indices of the packed B."""
    return (lane, term, group) if unit.interleaved else (group, lane, term)


def pack_constant(
    matrix: npt.NDArray[np.generic], workload: Workload, choice: DotProductChoice, unit: DotUnit
) -> npt.NDArray[np.generic]:
    """Packs a constant B.

    Args:
        matrix: shape (batch, columns, *k); the last extent may be shorter than that of `workload`.

    Returns:
        A new array of `packed_shape` and the dtype of B; padding is zero.
    """
    shape = packed_shape(workload, choice, unit)
    run = workload.k[-1]
    flat = matrix.reshape(workload.batch, workload.columns, math.prod(workload.k[:-1]), -1)
    whole = np.pad(flat, [(0, 0)] * 3 + [(0, run - flat.shape[-1])])
    panels = in_panels(whole.reshape(workload.batch, workload.columns, -1), tile_columns(choice, unit))
    groups, vectors = depth_of(run, unit) // unit.group, choice.vectors
    # (batch, panel, step, group of the step, term, vector, lane) -> (..., step, vector, group, lane, term)
    steps = panels.reshape(*panels.shape[:2], -1, groups, unit.group, vectors, unit.lanes)
    order = (0, 1, 2, 5, *place_in_step(3, 6, 4, unit))
    return np.ascontiguousarray(steps.transpose(order)).reshape(shape)


def pack_at_run_time(
    element: Callable[..., Scalar], workload: Workload, choice: DotProductChoice, unit: DotUnit, *, name: str = "packed"
) -> te.Tensor:
    """A stage that packs B when the kernel runs.

    Args:
        element: the element of B at (batch, column, *k).
    """
    shape = packed_shape(workload, choice, unit)
    groups, columns = depth_of(workload.k[-1], unit) // unit.group, tile_columns(choice, unit)

    def packed(batch: Any, panel: Any, *rest: Any) -> Scalar:
        *outer, step, vector, first, second, third = rest
        group, lane, term = (third, first, second) if unit.interleaved else (first, second, third)
        column = panel * columns + vector * unit.lanes + lane
        at = (step * groups + group) * unit.group + term
        return within(
            element(batch, column, *outer, at).astype(workload.rhs), column, workload.columns, shape[1] * columns
        )

    return te.compute(int64s(shape), packed, name=name, attrs=STAGE.entry("pack"))

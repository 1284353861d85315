"""What contractions by tensor cores are made of: A as a stage of runs, B packed by slabs, and their sums.

A[batch, row, slab, run, place]         computed where it is copied: the pixels of an image, padding included
B[batch, panel, slab, column, step]     packed, when compiling if it is constant
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS, LHS, LINES, RHS, STAGE, operand
from ...ir_types import Scalar
from ...targets.target import DotUnit
from ..tensorir.expressions import converted, dtype_bits, int64, int64s, unflatten
from ..tensorir.padding import padded, within
from .microkernel import STAGED, Element, Packed, ReadsInPlace
from .tensor_cores import TEMPLATE, TensorChoice, run_of, slabs_of


@dataclass(frozen=True)
class TensorProducts(ReadsInPlace):
    """The `Microkernel` of the template.

    Attributes:
        template, name: of the block of sums.
    """

    choice: TensorChoice
    unit: DotUnit
    template: str = TEMPLATE
    name: str = TEMPLATE

    @property
    def casts_operands(self) -> bool:
        """It does, where it copies or packs them."""
        return True

    def operand(
        self, element: Element, extents: Sequence[int], shape: Sequence[int], before: Sequence[int], fill: int = 0
    ) -> Element:
        """A with its padding, which the stage computes."""
        if tuple(extents) == tuple(shape):
            return element
        stage = padded(element, extents, shape, before, self.unit.lhs, {}, f"padded_{self.name}", fill)
        return lambda *index: stage[index]

    @property
    def _panels(self) -> int:
        return math.ceil(self.workload.columns / self.choice.tile[1])

    @property
    def _packed_shape(self) -> tuple[int, ...]:
        slabs = slabs_of(self.workload, self.choice)
        return (self.workload.batch, self._panels, slabs, self.choice.tile[1], self.choice.steps)

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k), packed."""
        batch, panels, slabs, columns, steps = self._packed_shape
        flat = matrix.reshape(batch, self.workload.columns, -1)
        whole = np.zeros((batch, panels * columns, slabs * steps), _numpy(self.unit.rhs, matrix))
        whole[:, : flat.shape[1], : flat.shape[2]] = flat
        return (np.ascontiguousarray(whole.reshape(batch, panels, columns, slabs, steps).swapaxes(2, 3)),)

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """The same when the kernel runs, from the element at (batch, column, *k)."""
        workload, depth = self.workload, math.prod(self.workload.k)
        shape = self._packed_shape
        *_, slabs, columns, steps = shape

        def packed(batch: Any, panel: Any, slab: Any, lane: Any, step: Any) -> Scalar:
            column, k = panel * columns + lane, slab * steps + step
            value = converted(element(batch, column, *unflatten(k, workload.k)), self.unit.rhs)
            value = within(value, k, depth, slabs * steps)
            return within(value, column, workload.columns, self._panels * columns)

        return te.compute(int64s(shape), packed, name=f"packed_{self.name}", attrs=STAGE.entry("pack"))

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums = self.compute_padded(lhs, *packed)
        return lambda *index: sums[index]

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums with padding: whole tiles."""
        workload, (tile_rows, columns) = self.workload, self.choice.tile
        rows = math.ceil(workload.rows / tile_rows) * tile_rows
        staged = self._staged(lhs, rows)
        *_, slabs, runs, run = (int(extent) for extent in staged.shape)
        axes = [te.reduce_axis((int64(0), int64(extent)), name) for extent, name in ((slabs, "slab"), (runs, "run"))]
        slab, at = axes
        place = te.reduce_axis((int64(0), int64(run)), "place")

        def element(batch: Any, row: Any, column: Any) -> Scalar:
            left = staged[batch, row, slab, at, place]
            right = packed[0][batch, column // columns, slab, column % columns, at * run + place]
            factors = (
                operand(role, converted(each, workload.accumulator)) for role, each in ((LHS, left), (RHS, right))
            )
            return te.sum(next(factors) * next(factors), axis=[*axes, place])

        shape = int64s((workload.batch, rows, self._panels * columns))
        attributes = {**ANCHOR.entry(self.template), **FLOPS.entry(workload.flops)}
        return te.compute(shape, element, name=self.name, attrs=attributes)

    def _staged(self, lhs: Element, rows: int) -> te.Tensor:
        """A by slabs and runs; beyond the last row comes that row again, beyond the last element of k come zeros."""
        workload, dtype = self.workload, self.unit.lhs
        run, slabs = run_of(workload, self.unit), slabs_of(workload, self.choice)
        runs = self.choice.steps // run
        *outer, inner = workload.k
        there = math.prod(workload.k) // run

        def element(batch: Any, row: Any, slab: Any, at: Any, place: Any) -> Scalar:
            row = row if rows == workload.rows else tirx.min(row, int64(workload.rows - 1))
            number = slab * runs + at
            *offsets, channel = unflatten(number, (*outer, inner // run))
            value = converted(lhs(batch, row, *offsets, channel * run + place), dtype)
            return within(value, number, there, slabs * runs)

        shape = int64s((workload.batch, rows, slabs, runs, run))
        lines = int64s((workload.rows, math.prod(workload.k)))
        attributes = {**STAGE.entry(STAGED), **LINES.entry(lines)}
        return te.compute(shape, element, name=f"{self.name}_rows", attrs=attributes)


def _numpy(dtype: str, matrix: npt.NDArray[np.generic]) -> Any:
    """The dtype of packed constants: what was cast in the graph stays as it is."""
    assert matrix.dtype.itemsize * 8 == dtype_bits(dtype), (matrix.dtype, dtype)
    return matrix.dtype

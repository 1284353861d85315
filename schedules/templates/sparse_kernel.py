"""The compute of the sparse contraction, and its weights as the kernel reads them; `sparse.py` shows the loop nest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS, LANES, LHS, RHS, TASKS, operand
from ...errors import CompilerError
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import int64, int64s
from .microkernel import Element, Packed, ReadsInPlace
from .sparse import TEMPLATE, SparseChoice, panels_of, row_tiles, tasks_of, width_of

# What a tile costs beside its blocks, in blocks: tasks are cut by it.
_TILE_STEPS = 3


@dataclass(frozen=True)
class NonzeroBlocks(ReadsInPlace):
    """A `Microkernel` that multiplies the blocks of constant weights that hold anything but zeros."""

    choice: SparseChoice
    target: Target

    def pack_constant(self, matrix: npt.NDArray[np.generic]) -> Packed:
        """B of shape (batch, columns, *k).

        Returns:
            The blocks of all panels in order, (steps, chains, columns of a panel); where in k they are, (steps, chains,
            axes of k); and int32, where tasks begin among the tiles and end, and where panels begin among the steps.
        """
        workload, chains = self.workload, self.choice.chains
        width = width_of(workload, self.choice, self.target)
        panels = panels_of(workload, self.choice, self.target)
        flat = matrix.reshape(workload.batch, workload.columns, -1)
        flat = np.pad(flat, ((0, 0), (0, panels * width - workload.columns), (0, 0)))
        values, places, steps = [], [], []
        for panel in flat.reshape(workload.batch * panels, width, -1):
            used = np.flatnonzero((panel != 0).any(axis=0))
            empty = -len(used) % chains
            values += [panel[:, used].T, np.zeros((empty, width), matrix.dtype)]
            places += [used, used[-1:].repeat(empty)]
            steps.append((len(used) + empty) // chains)
        of_axes = [
            place
            for place, extent in zip(np.unravel_index(np.concatenate(places), workload.k), workload.k, strict=True)
            if extent > 1
        ]
        starts = np.cumsum([0, *steps])
        return (
            np.concatenate(values).reshape(-1, chains, width),
            np.stack(of_axes, axis=-1).astype("int32").reshape(-1, chains, len(of_axes)),
            np.concatenate([self._task_starts(np.array(steps)), starts]).astype("int32"),
        )

    def _task_starts(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Where tasks begin among all tiles in order, and where the last one ends: each about as much work."""
        tasks = tasks_of(self.workload, self.choice, self.target)
        if not tasks:
            return np.zeros(0, np.int64)
        of_product = steps.reshape(self.workload.batch, 1, -1)
        tiles = of_product.repeat(row_tiles(self.workload, self.choice), axis=1).reshape(-1) + _TILE_STEPS
        done = np.array([0, *np.cumsum(tiles)])
        wanted = done[-1] * np.arange(1, tasks) / tasks
        behind = np.searchsorted(done, wanted)
        cuts = np.where(wanted - done[behind - 1] < done[behind] - wanted, behind - 1, behind)
        return np.array([0, *cuts, len(tiles)])

    def pack_at_run_time(self, element: Element) -> te.Tensor:
        """Never: which weights are zero is known when compiling."""
        raise CompilerError("a sparse contraction has constant weights")

    def compute(self, lhs: Element, *packed: te.Tensor) -> Element:
        """The sum at (batch, row, column)."""
        sums = self.compute_padded(lhs, *packed)

        def total(batch: Any, row: Any, column: Any) -> Scalar:
            value = sums[batch, row, int64(0), column]
            for chain in range(1, self.choice.chains):
                value = value + sums[batch, row, int64(chain), column]
            return value

        return total

    def compute_padded(self, lhs: Element, *packed: te.Tensor) -> te.Tensor:
        """The sums of chains, (batch, rows, chains, columns), rows and columns with padding."""
        workload, choice, (values, places, starts) = self.workload, self.choice, packed
        width = width_of(workload, choice, self.target)
        panels = panels_of(workload, choice, self.target)
        rows, tasks = row_tiles(workload, choice) * choice.rows, tasks_of(workload, choice, self.target)
        first_start = tasks + 1 if tasks else 0
        accumulator = workload.accumulator
        most = math.ceil(math.prod(workload.k) / choice.chains)
        step = te.reduce_axis((int64(0), int64(most)), "step")

        def element(batch: tirx.Var, row: tirx.Var, chain: tirx.Var, column: tirx.Var) -> Scalar:
            start = starts[batch * panels + column // width + first_start].astype("int64")
            axes = iter(range(len(workload.k)))
            k = [
                places[start + step, chain, int64(next(axes))].astype("int64") if extent > 1 else int64(0)
                for extent in workload.k
            ]
            row = row if rows == workload.rows else tirx.min(row, int64(workload.rows - 1))
            left = lhs(batch, row, *k).astype(accumulator)
            right = values[start + step, chain, column % width].astype(accumulator)
            return te.sum(operand(LHS, left) * operand(RHS, right), axis=step)

        shape = (workload.batch, rows, choice.chains, panels * width)
        useful = workload.sparsity.of_width(1) if workload.sparsity is not None else 0
        attributes = {**ANCHOR.entry(TEMPLATE), **FLOPS.entry(2 * workload.rows * useful)}
        attributes |= {**LANES.entry(workload.lanes(self.target)), **TASKS.entry(tasks)}
        return te.compute(int64s(shape), element, name=TEMPLATE, attrs=attributes)

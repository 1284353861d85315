"""The schedule of contractions by tensor cores; `tensor_cores.py` shows the loop nest.

The loops of an instruction are marked with what they are for it, copies with how they lie in shared memory, the loop
over slabs with how many are there at a time: lowering does the rest.
"""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...annotations import AHEAD, COPY, ROLE, ROLES, UNIT
from ...targets.target import DotUnit, Target
from ..tensorir import blocks
from ..tensorir.blocks import Loop
from ..tensorir.expressions import dtype_bits
from . import grid, grid_sums
from .grid_sums import Sums
from .tensor_cores import LANES, OWN, RUN_BYTES, TensorChoice


def schedule_kernel(sch: Schedule, choice: TensorChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    grid_sums.schedule_kernel(sch, choice.k_splits, lambda sums: _schedule(sch, sums, choice, target))


def _schedule(sch: Schedule, sums: Sums, choice: TensorChoice, target: Target) -> None:
    """Makes a grid of a contraction and what reads its sums."""
    unit, (own_rows, own_columns), (down, across) = target.unit(choice.unit), choice.own, choice.warps
    anchor, writer = sums.anchor, sums.writer

    # The sums of whole tiles are made, whatever of them is read: each lane takes part in every instruction.
    blocks.follow_axes(sch, writer, sch.get(anchor).writes[0].source)
    batch, row, column, slab, run, place = sch.get_loops(anchor)
    tile, warp_row, lane_row, row = sch.split(row, [None, down, LANES[0], own_rows])
    panel, warp_column, lane_column, column = sch.split(column, [None, across, LANES[1], own_columns])
    sch.reorder(batch, tile, panel, warp_row, warp_column, lane_row, lane_column, row, column)
    for loop, name in ((batch, "z"), (panel, "y"), (tile, "x")):
        sch.bind(loop, f"{grid.BLOCK}{name}")
    if down * across > 1:
        sch.bind(sch.fuse(warp_row, warp_column), f"{grid.THREAD}y")
    lane = sch.fuse(lane_row, lane_column)
    sch.bind(lane, f"{grid.THREAD}x")
    sch.set_scope(anchor, 0, "local")
    sch.reverse_compute_at(writer, lane, preserve_unit_loops=True)
    for loop in list(sch.get_loops(writer))[blocks.depth(sch, writer, lane) :]:
        sch.unroll(loop)

    register, row = sch.split(row, [None, OWN[0]])
    vector, column = sch.split(column, [None, OWN[1]])
    mark_product(sch, (register, row, vector, column, run, place), slab, unit)
    sch.annotate(slab, AHEAD.name, choice.stages)

    rows, columns = share_operands(sch, sums, slab, unit, (down * across, target.the_grid.warp))
    sch.annotate(rows, COPY.name, [choice.steps, LANES[0], own_rows, 1])
    sch.annotate(columns, COPY.name, [choice.steps, LANES[1], own_columns, OWN[1]])
    sch.decompose_reduction(anchor, slab)


def mark_product(sch: Schedule, loops: tuple[Loop, ...], slab: Loop, unit: DotUnit) -> None:
    """Marks loops with what they are for an instruction; a run of k is cut into steps of its depth, unrolled.

    Args:
        sch: the schedule.
        loops: in the order of `ROLES`: registers, rows, vectors, columns, the run of k and the place in a word.
        slab: the loop over slabs of k, outside all of them.
        unit: the instruction.
    """
    *outer, run, place = loops
    step, run = sch.split(run, [None, max(1, unit.depth // blocks.extent(sch, place))])
    roles = (*outer, run, place)
    sch.reorder(slab, step, *roles)
    for loop, role in zip(roles, ROLES, strict=True):
        sch.annotate(loop, ROLE.name, role)
    sch.annotate(roles[0], UNIT.name, unit.name)
    sch.unroll(step)


def share_operands(sch: Schedule, sums: Sums, slab: Loop, unit: DotUnit, threads: tuple[int, int]) -> tuple[Loop, Loop]:
    """Copies both operands of a slab to shared memory by runs; returns the loops over a run of rows and of columns."""
    (*rows, row), (*columns, column) = grid_sums.share_operands(sch, sums, slab)
    outer, column = sch.split(column, [None, RUN_BYTES * 8 // dtype_bits(unit.rhs)])
    for loops in (rows, [*columns, outer]):
        grid_sums.bind_copy(sch, loops, threads)
    return row, column

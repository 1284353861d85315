"""The schedule of contractions by groups of warps; `warp_groups.py` shows the loop nest.

Sums and what reads them are cut the same way, each by itself: rows and columns of a thread are apart from each other.
"""

from __future__ import annotations

from tvm import tirx
from tvm.s_tir import Schedule

from ...annotations import AHEAD, COPY, LATE, LINES, SUMS
from ...ir_types import Buffer
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from . import grid, grid_sums, warp_groups
from .grid_sums import Sums
from .tensor_cores import LANES, OWN
from .tensor_cores_schedule import mark_product, share_operands
from .warp_groups import WARPS, GroupChoice


def schedule_kernel(sch: Schedule, choice: GroupChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    grid_sums.schedule_kernel(sch, choice.k_splits, lambda sums: _schedule(sch, sums, choice, target))


def _schedule(sch: Schedule, sums: Sums, choice: GroupChoice, target: Target) -> None:
    """Makes a grid of a contraction and what reads its sums."""
    unit, (tile_rows, tile_columns), (down, across) = target.unit(choice.unit), choice.tile, choice.warps
    anchor, writer = sums.anchor, sums.writer

    blocks.follow_axes(sch, writer, sch.get(anchor).writes[0].source)
    batch, row, column, slab, run, place = sch.get_loops(anchor)
    tile, row = sch.split(row, [None, tile_rows])
    panel, column = sch.split(column, [None, tile_columns])
    sch.reorder(batch, tile, panel, row, column)
    for loop, name in ((batch, "z"), (panel, "y"), (tile, "x")):
        sch.bind(loop, f"{grid.BLOCK}{name}")
    sch.set_scope(anchor, 0, "local")
    sch.reverse_compute_at(writer, panel, preserve_unit_loops=True)
    for loop in _of_threads(sch, *_row_and_column(sch, writer, sch.get(anchor).writes[0].source), choice):
        sch.unroll(loop)

    register, row, vector, column = _of_threads(sch, row, column, choice)
    mark_product(sch, (register, row, vector, column, run, place), slab, unit)
    for mark, value in ((AHEAD, choice.stages), (LATE, warp_groups.LATE), (SUMS, 1)):
        sch.annotate(slab, mark.name, value)

    lines = LINES.of(sch.get(sums.staged))
    rows, columns = share_operands(sch, sums, slab, unit, (down * across, WARPS * target.the_grid.warp))
    for runs in (rows, columns):
        sch.annotate(runs, COPY.name, [choice.steps, 1, 1, 1])
    if lines is not None:
        sch.annotate(rows, LINES.name, list(lines))
    sch.decompose_reduction(anchor, slab)


def _row_and_column(sch: Schedule, writer: Block, sums: Buffer) -> tuple[Loop, Loop]:
    """The loops over rows and columns of a tile of the block that reads the sums; the only row has no loop yet."""
    *_, column = sch.get_loops(writer)
    _, row, _ = blocks.loads(sch.get(writer).body, sums)[0].indices
    return (sch.add_unit_loop(column) if isinstance(row, tirx.IntImm) else sch.get_loops(writer)[-2]), column


def _of_threads(sch: Schedule, row: Loop, column: Loop, choice: GroupChoice) -> tuple[Loop, Loop, Loop, Loop]:
    """Gives threads the rows and columns of a tile that instructions leave them; returns the loops over a thread's own.

    Returns:
        Loops over pieces of rows and rows of each, panels of columns and columns of each.
    """
    down, across = choice.warps
    group_row, piece, warp, half, lane_row = sch.split(row, [down, choice.pieces, WARPS, OWN[0], LANES[0]])
    group_column, panel, lane_column, pair = sch.split(column, [across, choice.panels, LANES[1], OWN[1]])
    sch.reorder(group_row, group_column, warp, lane_row, lane_column, piece, half, panel, pair)
    if down * across > 1:
        sch.bind(sch.fuse(group_row, group_column), f"{grid.THREAD}y")
    sch.bind(sch.fuse(warp, lane_row, lane_column), f"{grid.THREAD}x")
    return piece, half, panel, pair

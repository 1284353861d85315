"""The schedule of contractions by groups of warps; `warp_groups.py` shows the loop nest.

Sums and what reads them are cut the same way, each by itself: rows and columns of a thread are apart from each other.
"""

from __future__ import annotations

from tvm import tirx
from tvm.s_tir import Schedule

from ...annotations import AHEAD, COPY, LATE, LINES, ROLE, ROLES, STAGE, SUMS, UNIT
from ...ir_types import Buffer
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.expressions import dtype_bits
from . import grid, warp_groups
from .microkernel import STAGED
from .tensor_cores import LANES, OWN, RUN_BYTES, unit_of
from .tensor_cores_schedule import share_copy, written
from .warp_groups import WARPS, GroupChoice


def schedule_kernel(sch: Schedule, choice: GroupChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    anchor, writer = grid.sums_and_writer(sch, choice.k_splits)
    grid.schedule_rest(sch, schedule_sums(sch, anchor, writer, choice, target))


def schedule_sums(sch: Schedule, anchor: Block, writer: Block, choice: GroupChoice, target: Target) -> set[str]:
    """Makes a grid of the block that reads the sums of `anchor`; returns the names of the blocks in it."""
    unit, (tile_rows, tile_columns), (down, across) = unit_of(choice, target), choice.tile, choice.warps
    staged = next(each for each in sch.get_producers(anchor) if STAGE.of(sch.get(each)) == STAGED)
    before = {sch.get(each).name_hint for each in blocks.child_blocks(sch)}
    outside = before - {sch.get(each).name_hint for each in (anchor, writer, staged)}

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
    step, run = sch.split(run, [None, max(1, unit.depth // blocks.extent(sch, place))])
    roles = (register, row, vector, column, run, place)
    sch.reorder(slab, step, *roles)
    for loop, role in zip(roles, ROLES, strict=True):
        sch.annotate(loop, ROLE.name, role)
    sch.annotate(register, UNIT.name, unit.name)
    for mark, value in ((AHEAD, choice.stages), (LATE, warp_groups.LATE), (SUMS, 1)):
        sch.annotate(slab, mark.name, value)
    sch.unroll(step)

    lines = LINES.of(sch.get(staged))
    packed = next(i for i, each in enumerate(sch.get(anchor).reads) if not each.source.same_as(written(sch, staged)))
    sch.set_scope(staged, 0, "shared")
    columns = sch.cache_read(anchor, packed, "shared")
    sch.annotate(columns, STAGE.name, STAGED)
    for copy in (staged, columns):
        sch.compute_at(copy, slab, preserve_unit_loops=True)
        loops = list(sch.get_loops(copy))[blocks.depth(sch, copy, slab) :]
        if copy is columns:
            loops += sch.split(loops.pop(), [None, RUN_BYTES * 8 // dtype_bits(unit.rhs)])
        elements = share_copy(sch, loops, down * across, WARPS * target.the_grid.warp)
        sch.annotate(elements, COPY.name, [choice.steps, 1, 1, 1])
        if copy is staged and lines is not None:
            sch.annotate(elements, LINES.name, list(lines))
    sch.decompose_reduction(anchor, slab)
    return {sch.get(each).name_hint for each in blocks.child_blocks(sch)} - outside


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

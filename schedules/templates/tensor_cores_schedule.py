"""The schedule of contractions by tensor cores; `tensor_cores.py` shows the loop nest.

The loops of an instruction are marked with what they are for it, copies with how they lie in shared memory, the loop
over slabs with how many are there at a time: lowering does the rest.
"""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...annotations import AHEAD, COPY, ROLE, ROLES, STAGE, UNIT
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.expressions import dtype_bits
from . import grid
from .microkernel import STAGED
from .tensor_cores import LANES, OWN, RUN_BYTES, TensorChoice, unit_of


def schedule_kernel(sch: Schedule, choice: TensorChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    anchor, writer = grid.sums_and_writer(sch, choice.k_splits)
    grid.schedule_rest(sch, schedule_sums(sch, anchor, writer, choice, target))


def schedule_sums(sch: Schedule, anchor: Block, writer: Block, choice: TensorChoice, target: Target) -> set[str]:
    """Makes a grid of the block that reads the sums of `anchor`; returns the names of the blocks in it."""
    unit, (own_rows, own_columns), (down, across) = unit_of(choice, target), choice.own, choice.warps
    staged = next(each for each in sch.get_producers(anchor) if STAGE.of(sch.get(each)) == STAGED)
    before = {sch.get(each).name_hint for each in blocks.child_blocks(sch)}
    outside = before - {sch.get(each).name_hint for each in (anchor, writer, staged)}

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
    step, run = sch.split(run, [None, max(1, unit.depth // blocks.extent(sch, place))])
    roles = (register, row, vector, column, run, place)
    sch.reorder(slab, step, *roles)
    for loop, role in zip(roles, ROLES, strict=True):
        sch.annotate(loop, ROLE.name, role)
    sch.annotate(register, UNIT.name, unit.name)
    sch.annotate(slab, AHEAD.name, choice.stages)
    sch.unroll(step)

    packed = next(i for i, each in enumerate(sch.get(anchor).reads) if not each.source.same_as(written(sch, staged)))
    sch.set_scope(staged, 0, "shared")
    columns = sch.cache_read(anchor, packed, "shared")
    sch.annotate(columns, STAGE.name, STAGED)
    for copy, (lanes, own, together) in ((staged, (LANES[0], own_rows, 1)), (columns, (LANES[1], own_columns, OWN[1]))):
        sch.compute_at(copy, slab, preserve_unit_loops=True)
        loops = list(sch.get_loops(copy))[blocks.depth(sch, copy, slab) :]
        if copy is columns:
            loops += sch.split(loops.pop(), [None, RUN_BYTES * 8 // dtype_bits(unit.rhs)])
        elements = share_copy(sch, loops, down * across, target.the_grid.warp)
        sch.annotate(elements, COPY.name, [choice.steps, lanes, own, together])
    sch.decompose_reduction(anchor, slab)
    return {sch.get(each).name_hint for each in blocks.child_blocks(sch)} - outside


def written(sch: Schedule, block: Block) -> object:
    """The buffer that a block writes."""
    return sch.get(block).writes[0].source


def share_copy(sch: Schedule, loops: list[Loop], warps: int, lanes: int) -> Loop:
    """Every thread of a block copies some runs, those side by side at the same time; returns the loop over a run."""
    *outer, elements = loops
    _, warp, lane = sch.split(sch.fuse(*outer), [None, warps, lanes])
    if warps > 1:
        sch.bind(warp, f"{grid.THREAD}y")
    sch.bind(lane, f"{grid.THREAD}x")
    return elements

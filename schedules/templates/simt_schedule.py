"""The schedule of contractions by grids; `simt.py` is their algorithm and shows the loop nest."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...annotations import STAGE
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block
from . import grid
from .microkernel import STAGED
from .simt import SimtChoice

_MOST_UNROLLED = 32  # steps of a slab


def schedule_kernel(sch: Schedule, choice: SimtChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    anchor, writer = grid.sums_and_writer(sch, choice.k_splits)
    done = schedule_sums(sch, anchor, writer, choice)
    grid.schedule_rest(sch, done)


def schedule_sums(sch: Schedule, anchor: Block, writer: Block, choice: SimtChoice) -> set[str]:
    """Makes a grid of the block that reads the sums of `anchor`; returns the names of the blocks in it."""
    down, across = choice.block
    staged = next(each for each in sch.get_producers(anchor) if STAGE.of(sch.get(each)) == STAGED)
    before = {sch.get(each).name_hint for each in blocks.child_blocks(sch)}
    outside = before - {sch.get(each).name_hint for each in (anchor, writer, staged)}

    batch, row, column = blocks.follow_axes(sch, writer, sch.get(anchor).writes[0].source)
    tile, thread_row, own_row = sch.split(row, [None, down, choice.rows])
    panel, thread_column, own_column = sch.split(column, [None, across, choice.columns])
    sch.reorder(batch, tile, panel, thread_row, thread_column, own_row, own_column)
    for loop, name in ((batch, "z"), (panel, "y"), (tile, "x")):
        sch.bind(loop, f"{grid.BLOCK}{name}")
    sch.bind(thread_row, f"{grid.THREAD}y")
    sch.bind(thread_column, f"{grid.THREAD}x")
    for loop in (own_row, own_column):
        sch.unroll(loop)

    sch.set_scope(anchor, 0, "local")
    sch.compute_at(anchor, thread_column, preserve_unit_loops=True)
    depth = blocks.depth(sch, anchor, thread_column)
    kinds = [int(var.iter_type) for var in sch.get(anchor).iter_vars]
    inner = list(zip(sch.get_loops(anchor), blocks.axis_of_loops(sch, anchor), strict=True))[depth:]
    terms = [loop for loop, axis in inner if axis is not None and kinds[axis] == blocks.REDUCTION]
    own = [loop for loop, axis in inner if axis is None or kinds[axis] != blocks.REDUCTION]
    slab, step = sch.split(terms[-1], [None, choice.steps])
    sch.reorder(*terms[:-1], slab, step, *own)
    for loop in own:
        sch.unroll(loop)
    if choice.steps <= _MOST_UNROLLED:
        sch.unroll(step)
    packed = next(i for i, each in enumerate(sch.get(anchor).reads) if not each.source.same_as(_written(sch, staged)))
    sch.set_scope(staged, 0, "shared")
    for copy in (staged, sch.cache_read(anchor, packed, "shared")):
        sch.compute_at(copy, slab, preserve_unit_loops=True)
        _share_copy(sch, copy, blocks.depth(sch, copy, slab), choice)
    sch.decompose_reduction(anchor, terms[0] if len(terms) > 1 else slab)
    return {sch.get(each).name_hint for each in blocks.child_blocks(sch)} - outside


def _written(sch: Schedule, block: Block) -> object:
    return sch.get(block).writes[0].source


def _share_copy(sch: Schedule, copy: Block, depth: int, choice: SimtChoice) -> None:
    """Every thread of a block copies some elements, those side by side at the same time."""
    loops = list(sch.get_loops(copy))[depth:]
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    _, row, column = sch.split(fused, [None, *choice.block])
    sch.bind(row, f"{grid.THREAD}y")
    sch.bind(column, f"{grid.THREAD}x")

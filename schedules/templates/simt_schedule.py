"""The schedule of contractions by grids; `simt.py` is their algorithm and shows the loop nest."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from . import grid, grid_sums
from .grid_sums import Sums
from .simt import SimtChoice

_MOST_UNROLLED = 32  # steps of a slab


def schedule_kernel(sch: Schedule, choice: SimtChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    grid_sums.schedule_kernel(sch, choice.k_splits, lambda sums: _schedule(sch, sums, choice))


def _schedule(sch: Schedule, sums: Sums, choice: SimtChoice) -> None:
    """Makes a grid of a contraction and what reads its sums."""
    (down, across), anchor, writer = choice.block, sums.anchor, sums.writer

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
    for loops in grid_sums.share_operands(sch, sums, slab):
        grid_sums.bind_copy(sch, loops, choice.block)
    sch.decompose_reduction(anchor, terms[0] if len(terms) > 1 else slab)

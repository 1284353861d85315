"""The schedule of the sparse contraction; `sparse.py` shows the loop nest, `nonzero_loops.py` of lowering ends it."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...annotations import NONZEROS, TASKS
from ...targets.target import Target
from ..tensorir import blocks
from . import transposition
from .contraction_schedule import MAX_UNROLLED_ROWS, cut_columns, lanes_of
from .sparse import SparseChoice


def schedule_kernel(sch: Schedule, choice: SparseChoice, target: Target) -> None:
    """Schedules a kernel around one sparse contraction."""
    (anchor,) = blocks.anchors(sch)
    (writer,) = sch.get_consumers(anchor)
    blocks.inline_producers(sch, [anchor])
    after = blocks.absorb_consumers(sch, writer)
    for block in [*blocks.stages(sch, anchor), *after]:
        transposition.schedule_stage(sch, block, choice.threads, target)

    batch, row, chain, column = blocks.follow_axes(sch, writer, sch.get(anchor).writes[0].source)
    tile, row = sch.split(row, [None, choice.rows])
    panel, columns = cut_columns(sch, anchor, choice.vectors, column)
    sch.reorder(batch, tile, chain, panel, row, *columns)
    if choice.rows <= MAX_UNROLLED_ROWS:
        sch.unroll(row)
    # Parallel loops are marked before the anchor moves inside: later the kernel no longer looks parallel to TVM.
    outer = sch.fuse(batch, tile, chain, panel)
    tasks = TASKS.of(sch.get(anchor))
    if tasks:
        blocks.share(sch, outer, choice.threads)
        sch.annotate(outer, TASKS.name, tasks)
    _fill_tiles(sch, anchor, writer, outer, choice)


def _fill_tiles(
    sch: Schedule, anchor: blocks.Block, writer: blocks.Block, outer: blocks.Loop, choice: SparseChoice
) -> None:
    """Makes each tile of sums where `writer` reads it: in registers, all inside of the loop over blocks unrolled."""
    depth, lanes = blocks.depth(sch, writer, outer), lanes_of(sch, anchor)
    sch.set_scope(anchor, 0, "local")
    sch.compute_at(anchor, outer)
    # compute_at makes loops for the extents above 1 alone, in the order of the block's variables.
    inner = list(sch.get_loops(anchor))[depth:]
    rows = [inner.pop(0)] if choice.rows > 1 else []
    chains = [inner.pop(0)] if choice.chains > 1 else []
    columns = list(sch.split(inner.pop(0), [choice.vectors, lanes])) if choice.vectors * lanes > 1 else []
    (step,) = inner
    unrolled = [*chains, *rows, *columns[:1]]
    sch.reorder(step, *unrolled, *columns[1:])
    for loop in unrolled:
        sch.unroll(loop)
    if columns:
        sch.vectorize(columns[1])
    sch.annotate(step, NONZEROS.name, 1)
    sch.decompose_reduction(anchor, step)

"""The schedule of the rows template; `rows.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

import math

from tvm.s_tir import Schedule

from ...annotations import ANCHOR, STAGE
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import (
    Block,
    Loop,
    written_shape,
)
from . import plain
from .rows import PARTS
from .rows_choice import RowsChoice


def schedule_kernel(sch: Schedule, choice: RowsChoice, target: Target) -> None:
    """Schedules a kernel of several stages along rows."""
    stages = blocks.anchors(sch)
    blocks.inline_producers(sch, stages)
    consumers = sch.get_consumers(stages[-1])
    output = consumers[0]
    leftover = blocks.absorb_consumers(sch, output)
    stages = blocks.anchors(sch)
    for block in leftover:
        plain.schedule_block(sch, block, choice.threads, target)
    for block in blocks.child_blocks(sch):
        if ANCHOR.of(sch.get(block)) is None and not _is_one_of(sch, block, [output, *leftover]):
            plain.schedule_block(sch, block, choice.threads, target)

    if choice.parts > 1:
        _schedule_parts(sch, stages, choice, target)
        plain.schedule_block(sch, output, choice.threads, target)
        return
    rank = _row_rank(sch, stages)
    loops = list(sch.get_loops(output))
    row_loops, inner = loops[:rank], loops[rank:]
    if not row_loops:
        row_loops = [sch.add_unit_loop(sch.get_loops(output)[0] if loops else output)]
    row = sch.fuse(*row_loops) if len(row_loops) > 1 else row_loops[0]
    blocks.share(sch, row, choice.threads)
    schedule_stages(sch, stages, row, choice, target)
    if inner:
        plain.vectorize(sch, inner[-1], target)


def _schedule_parts(sch: Schedule, stages: list[Block], choice: RowsChoice, target: Target) -> None:
    """Gives every stage loops of its own: those over parts of rows are shared, as are those over whole rows."""
    cut = [stage for stage in stages if STAGE.of(sch.get(stage)) == PARTS]
    *lead, _, width = written_shape(sch, cut[0])
    for stage in stages:
        if _is_one_of(sch, stage, cut):
            outer = plain.parallelize(sch, list(sch.get_loops(stage))[: len(lead) + 1], choice.threads)
            _schedule_stage(sch, stage, len(outer), target)
        elif blocks.is_reduction(sch, stage) or _row_elements(sch, stage, len(lead)) <= width:
            _schedule_stage(sch, stage, len(lead), target)
        else:
            plain.schedule_block(sch, stage, choice.threads, target)


def schedule_stages(sch: Schedule, stages: list[Block], row: Loop, choice: RowsChoice, target: Target) -> None:
    """Computes the stages of one row, in order, inside the loop over rows."""
    rank = _row_rank(sch, stages)
    partials = max(1, choice.registers) * target.lanes()
    for stage in reversed(stages):
        sch.compute_at(stage, row, preserve_unit_loops=False)
        if choice.on_stack or _row_elements(sch, stage, rank) <= partials:
            sch.set_scope(stage, 0, "local")
    for stage in stages:
        _schedule_stage(sch, stage, blocks.depth(sch, stage, row), target)


def _is_one_of(sch: Schedule, block: Block, others: list[Block]) -> bool:
    return sch.get(block).name_hint in {sch.get(other).name_hint for other in others}


def _row_rank(sch: Schedule, stages: list[Block]) -> int:
    """The axes of the index of rows: those of the stages with one number a row, which have one if there is one row."""
    ranks = {len(written_shape(sch, stage)) for stage in stages}
    return min(ranks) if len(ranks) > 1 else 0


def _row_elements(sch: Schedule, stage: Block, rank: int) -> int:
    return math.prod(written_shape(sch, stage)[rank:])


def _schedule_stage(sch: Schedule, stage: Block, depth: int, target: Target) -> None:
    kinds = [int(var.iter_type) for var in sch.get(stage).iter_vars]
    around = list(zip(sch.get_loops(stage), blocks.axis_of_loops(sch, stage), strict=True))[depth:]
    steps = [loop for loop, axis in around if axis is not None and kinds[axis] == blocks.REDUCTION]
    spatial = [loop for loop, axis in around if loop not in steps]
    if not blocks.is_reduction(sch, stage):
        if spatial and blocks.extent(sch, spatial[-1]) < target.lanes():  # halves of a register
            sch.vectorize(spatial[-1])
        elif spatial:
            plain.vectorize(sch, spatial[-1], target)
        return
    if not steps:
        steps = [sch.add_unit_loop(stage)]
    if spatial:  # partial results: registers inside the loop over the row
        sch.reorder(*steps, *spatial)
        width, lanes = blocks.extent(sch, spatial[-1]), target.lanes()
        if lanes > 1 and width % lanes == 0:
            vector, lane = sch.split(spatial[-1], [width // lanes, lanes])
            sch.unroll(vector)
            sch.vectorize(lane)
    sch.decompose_reduction(stage, steps[0])

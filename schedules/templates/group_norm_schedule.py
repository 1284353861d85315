"""The schedule of the group norm template; `group_norm.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from . import plain
from .group_norm import AVERAGES, PARTS, RESULT, SQUARES, SUMS, GroupNormChoice


def schedule_kernel(sch: Schedule, choice: GroupNormChoice, target: Target) -> None:
    """Schedules a kernel around the statistics of blocks of pixels."""
    named = [sch.get_sblock(name) for name in (SUMS, AVERAGES, SQUARES, PARTS, RESULT)]
    sums, averages, squares, parts, result = named
    leftover = blocks.absorb_consumers(sch, result)
    apart = {sch.get(each).name_hint for each in named}
    for block in blocks.child_blocks(sch):
        if sch.get(block).name_hint not in apart:
            plain.schedule_block(sch, block, 1, target)
    for block in leftover:
        plain.schedule_block(sch, block, choice.threads, target)

    part, image, block, channel = sch.get_loops(parts)
    panel, vector, lane = _cut(sch, channel, choice)
    sch.reorder(image, block, panel, part, vector, lane)
    task = sch.fuse(image, block, panel)
    blocks.share(sch, task, choice.threads)
    for loop in (part, vector):
        sch.unroll(loop)
    _vectorize(sch, lane, choice)
    for each in (squares, averages, sums):
        sch.compute_at(each, task, preserve_unit_loops=True)
        sch.set_scope(each, 0, "local")
    _schedule_sum(sch, sums, choice)
    _schedule_sum(sch, squares, choice)
    _, vector, lane = _cut(sch, sch.get_loops(averages)[-1], choice)
    sch.unroll(vector)
    _vectorize(sch, lane, choice)

    *outer, channel = sch.get_loops(result)
    plain.vectorize(sch, channel, target)
    plain.parallelize(sch, outer, choice.threads)


def _cut(sch: Schedule, channel: Loop, choice: GroupNormChoice) -> tuple[Loop, Loop, Loop]:
    panel, vector, lane = sch.split(channel, [None, choice.vectors, choice.lanes])
    return panel, vector, lane


def _vectorize(sch: Schedule, lane: Loop, choice: GroupNormChoice) -> None:
    if choice.lanes > 1:
        sch.vectorize(lane)


def _schedule_sum(sch: Schedule, block: Block, choice: GroupNormChoice) -> None:
    """Sums over pixels with the channels of a panel in registers."""
    channel, pixel = sch.get_loops(block)[-2:]
    _, vector, lane = _cut(sch, channel, choice)
    sch.reorder(pixel, vector, lane)
    sch.unroll(vector)
    _vectorize(sch, lane, choice)
    sch.decompose_reduction(block, pixel)

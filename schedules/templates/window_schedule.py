"""The schedule of the window template; `window.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

from dataclasses import replace

from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from . import plain
from .window_choice import WindowChoice, cut_loop, loops_over_space


def schedule_kernel(sch: Schedule, choice: WindowChoice, target: Target) -> None:
    """Schedules a kernel around one window block, and the parts that it combines if there are some."""
    anchors = blocks.anchors(sch)
    *partial, anchor = anchors
    blocks.inline_producers(sch, anchors)
    epilogue = sch.cache_write(anchor, 0, "local")
    leftover = blocks.absorb_consumers(sch, epilogue)
    before = blocks.stages(sch, anchors[0])
    for block in [*before, *leftover]:
        plain.schedule_block(sch, block, choice.threads, target)
    unrolls = choice.lanes > 1 or target.lanes() == 1
    for part in partial:
        _schedule_windows(sch, part, sch.cache_write(part, 0, "local"), choice, unrolls, axes_of_parts=1)
    if partial:  # what is left is one number a part and channel
        choice = replace(choice, threads=1)
    _schedule_windows(sch, anchor, epilogue, choice, unrolls)


def _schedule_windows(
    sch: Schedule, anchor: Block, epilogue: Block, choice: WindowChoice, unrolls: bool, axes_of_parts: int = 0
) -> None:
    """Computes windows in tiles, which are written out where whole vectors are computed or there are no vectors."""
    outer = _tile_epilogue(sch, epilogue, choice, unrolls, axes_of_parts)
    sch.compute_at(anchor, outer[-1])
    _schedule_sum(sch, anchor, len(outer), choice, unrolls)


def _tile_epilogue(sch: Schedule, epilogue: Block, tile: WindowChoice, unrolls: bool, axes_of_parts: int) -> list[Loop]:
    """Tiles the writing loops, of which the first may count parts; returns the loops outside the tile."""
    *outer, channel = sch.get_loops(epilogue)
    parts, outer = outer[:axes_of_parts], outer[axes_of_parts:]
    extents = [blocks.extent(sch, loop) for loop in (*outer, channel)]
    panel, vector, lane = sch.split(channel, [None, tile.vectors, tile.lanes])
    inner = [vector, lane]
    if tile.positions > 1:
        rest, position = sch.split(outer.pop(), [None, tile.positions])
        outer.append(rest)
        inner = [position, *inner]
    block_of_panels, panel = sch.split(panel, [None, tile.panels])
    in_block = [panel]
    if outer:
        cut = cut_loop(loops_over_space(extents, tile.positions))
        block_of_rows, row = sch.split(outer[cut], [None, tile.rows])
        in_block = [row, *outer[cut + 1 :], panel]
        outer = [*outer[:cut], block_of_rows]
    outer = [*parts, *outer, block_of_panels]
    sch.reorder(*outer, *in_block, *inner)
    if unrolls:
        for loop in inner[:-1]:
            sch.unroll(loop)
    if tile.lanes > 1:
        sch.vectorize(lane)
    return [*plain.parallelize(sch, outer, tile.threads), *in_block]


def _schedule_sum(sch: Schedule, anchor: Block, depth: int, tile: WindowChoice, unrolls: bool) -> None:
    """Orders the anchor's own loops: offsets outside, positions and vectors unrolled inside."""
    kinds = [int(var.iter_type) for var in sch.get(anchor).iter_vars]
    inner = list(zip(sch.get_loops(anchor), blocks.axis_of_loops(sch, anchor), strict=True))[depth:]
    window = [loop for loop, axis in inner if axis is not None and kinds[axis] == blocks.REDUCTION]
    rest = [loop for loop, axis in inner if axis is None or kinds[axis] != blocks.REDUCTION]
    if not window:
        window = [sch.add_unit_loop(anchor)]
    lane = None
    if tile.lanes > 1:
        vector, lane = sch.split(rest.pop(), [tile.vectors, tile.lanes])
        rest.append(vector)
    sch.reorder(*window, *rest, *([lane] if lane is not None else []))
    if unrolls:
        for loop in rest:
            sch.unroll(loop)
        if tile.positions > 1:  # all but the outermost offset, whose rows may lie in the padding
            for loop in window[1:]:
                sch.unroll(loop)
    if lane is not None:
        sch.vectorize(lane)
    sch.decompose_reduction(anchor, window[0])

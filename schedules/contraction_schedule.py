"""The schedule of the contraction template; `contraction.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

import math

from tvm.s_tir import Schedule

from ..targets.target import Target
from . import blocks, plain
from .blocks import Block

# Multiply-adds below which waking other cores costs more than they save.
_PARALLEL_WORK = 1 << 19
_OUTER_LOOPS = 2  # around a tile: the fused parallel loop, and the tiles of a block of rows


def schedule_kernel(sch: Schedule, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    (anchor,) = blocks.anchors(sch)
    rows, vectors, row_tiles, lanes = (
        int(blocks.annotation(sch, anchor, f"tilewright.{name}")) for name in ("rows", "vectors", "row_tiles", "lanes")
    )
    (epilogue,) = sch.get_consumers(anchor)
    blocks.inline_producers(sch, [anchor])
    leftover = blocks.absorb_consumers(sch, epilogue)
    for block in [*blocks.stages(sch, anchor), *leftover]:
        plain.schedule_block(sch, block, target)

    extents, k_extents = _extents(sch, anchor)
    batch, row, column = blocks.follow_axes(sch, epilogue, sch.get(anchor).writes[0].source)
    # The epilogue's columns are cut at register width first: where whole registers fit, its guard is one comparison a
    # register and not one an element.
    columns = blocks.extent(sch, column)
    if columns % lanes == 0:
        vector, lane = sch.split(column, [columns // lanes, lanes])
        panel, vector = sch.split(vector, [None, vectors])
    else:
        panel, vector, lane = sch.split(column, [None, vectors, lanes])
    block_of_rows, tile, tile_row = sch.split(row, [None, row_tiles, rows])
    sch.reorder(batch, block_of_rows, panel, tile, tile_row, vector, lane)

    # Parallel loops are marked before the anchor moves inside: later the kernel no longer looks parallel to TVM.
    outer = sch.fuse(batch, block_of_rows, panel)
    if target.cores > 1 and math.prod((*extents, *k_extents)) >= _PARALLEL_WORK and blocks.extent(sch, outer) > 1:
        sch.parallel(outer)
    sch.set_scope(anchor, 0, "local")
    sch.compute_at(anchor, tile)
    schedule_tile(sch, anchor, _OUTER_LOOPS, rows, vectors, lanes)
    for loop in (tile_row, vector):
        sch.unroll(loop)
    if lanes > 1:
        sch.vectorize(lane)


def schedule_tile(sch: Schedule, anchor: Block, depth: int, rows: int, vectors: int, lanes: int) -> None:
    """Makes one tile of C: accumulators in registers, k outside, everything inside unrolled and vectorized.

    Args:
        depth: loops around the tile.
    """
    # compute_at makes loops for the extents above 1 alone, in the order of the block's variables.
    inner = list(sch.get_loops(anchor))[depth:]
    row = inner.pop(0) if rows > 1 else None
    if vectors * lanes > 1:
        vector, lane = sch.split(inner.pop(0), [vectors, lanes])
        tile = [vector, lane]
    else:
        tile = []
    if not inner:  # a reduction of one element
        inner = [sch.add_unit_loop(anchor)]
    unrolled = ([row] if row is not None else []) + tile[:1]
    sch.reorder(*inner, *unrolled, *tile[1:])
    for loop in unrolled:
        sch.unroll(loop)
    if tile:
        sch.vectorize(tile[1])
    sch.decompose_reduction(anchor, inner[0])


def _extents(sch: Schedule, anchor: Block) -> tuple[list[int], list[int]]:
    """Extents of the anchor's spatial axes (batch, rows, columns) and of its reduction axes."""
    values = [int(var.dom.extent) for var in sch.get(anchor).iter_vars]
    return values[:3], values[3:]

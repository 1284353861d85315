"""The schedule of the contraction template; `contraction.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

import math

from tvm.s_tir import Schedule

from ...annotations import INSIDE, LANES, PLACES, STAGE
from ...targets.target import Target
from ..tensorir import blocks, prefetch
from ..tensorir.blocks import Block, Loop
from . import dot_product_schedule, plain, transposition
from .dot_product import OPERAND
from .dot_product_choice import DotProductChoice
from .microkernels import TileChoice
from .steps_of_k import loaded_at_once
from .weight_product import WeightProductChoice

# What STAGE says of zeros around an image.
PAD = "pad"
# Rows of a tile whose epilogue is written out one by one: more are a loop.
MAX_UNROLLED_ROWS = 8
_FLOAT_BYTES = 4
# LLVM writes a loop of fewer large steps out, and then holds operands of two of them.
_FEWEST_STEPS = 4
_TILE_LOOPS = 3  # of the block that reads a tile: row, vector, lane


def schedule_kernel(sch: Schedule, choice: TileChoice, target: Target) -> None:
    """Schedules a kernel around one contraction block."""
    (anchor,) = blocks.anchors(sch)
    (writer,) = sch.get_consumers(anchor)
    blocks.inline_producers(sch, [anchor])
    dot_product_schedule.drop_copies(sch, target)
    if choice.k_splits > 1:  # what reads a tile stores it, and others add the sums of slices
        (added,) = sch.get_consumers(writer)
        after = [*blocks.absorb_consumers(sch, added)]
        plain.schedule_block(sch, added, choice.threads, target)
    else:
        after = blocks.absorb_consumers(sch, writer)
    before = blocks.stages(sch, anchor)
    bands = [block for block in before if target.saves_memory and STAGE.of(sch.get(block)) in (PAD, OPERAND)]
    if not bands and isinstance(choice, DotProductChoice):
        bands = dot_product_schedule.copies_of_blocks(sch, anchor, before, choice)
    for block in [*(block for block in before if block not in bands), *after]:
        transposition.schedule_stage(sch, block, choice.threads, target)

    batch, *rows, column = blocks.follow_axes(sch, writer, sch.get(anchor).writes[0].source)
    tiles: tuple[Loop, ...]
    if dot_product_schedule.has_lines(sch, anchor):
        block_of_rows, (line, tile, row) = dot_product_schedule.cut_lines(sch, anchor, choice.tile_rows, *rows)
        panel, columns = cut_columns(sch, anchor, choice.vectors, column)
        sch.reorder(block_of_rows, panel, line, tile, row, *columns)
        tiles = (line, tile)
    else:
        (row,) = rows
        block_of_rows, row = sch.split(row, [None, choice.row_tiles * choice.tile_rows])
        panel, tile = cut_tiles(sch, anchor, choice, row, column)
        tiles = (tile,)
    sch.reorder(batch, block_of_rows, panel)
    if not target.saves_memory or not bands:
        # Parallel loops are marked before the anchor moves inside: later the kernel no longer looks parallel to TVM.
        block_of_rows = sch.fuse(batch, block_of_rows, *([] if bands else [panel]))
        blocks.share(sch, block_of_rows, choice.threads)
    fill_tiles(sch, anchor, writer, tiles, choice, target)
    for band in bands:
        if target.saves_memory:
            sch.compute_at(band, block_of_rows)
        else:
            transposition.schedule_stage_inside(sch, band, block_of_rows, target)


def schedule_sums(sch: Schedule, anchor: Block, writer: Block, choice: TileChoice, target: Target) -> None:
    """Computes `anchor` in register tiles where `writer` reads it, whose innermost loops are its rows and columns."""
    row, column = sch.get_loops(writer)[-2:]
    _, tile = cut_tiles(sch, anchor, choice, row, column)
    fill_tiles(sch, anchor, writer, (tile,), choice, target)


def cut_tiles(sch: Schedule, anchor: Block, choice: TileChoice, row: Loop, column: Loop) -> tuple[Loop, Loop]:
    """Cuts the loops of the block that reads `anchor` into tiles, panels of columns outermost.

    Returns:
        The loops over panels and over the tiles of a panel; three loops of a tile follow: row, vector, lane.
    """
    rows = choice.tile_rows
    panel, columns = cut_columns(sch, anchor, choice.vectors, column)
    tile, inner_row = sch.split(row, [None, rows])
    sch.reorder(panel, tile, inner_row, *columns)
    if rows <= MAX_UNROLLED_ROWS:
        sch.unroll(inner_row)
    return panel, tile


def cut_columns(sch: Schedule, anchor: Block, vectors: int, column: Loop) -> tuple[Loop, tuple[Loop, Loop]]:
    """Cuts the columns of the block that reads `anchor` into panels, unrolled registers and vectorized lanes."""
    lanes = lanes_of(sch, anchor)
    # Columns are cut at register width first: where whole registers fit, a guard is one comparison a register and not
    # one an element.
    columns = blocks.extent(sch, column)
    if columns % lanes == 0:
        vector, lane = sch.split(column, [columns // lanes, lanes])
        panel, vector = sch.split(vector, [None, vectors])
    else:
        panel, vector, lane = sch.split(column, [None, vectors, lanes])
    sch.unroll(vector)
    if lanes > 1:
        sch.vectorize(lane)
    return panel, (vector, lane)


def lanes_of(sch: Schedule, anchor: Block) -> int:
    """Columns in one vector register."""
    lanes = LANES.of(sch.get(anchor))
    assert lanes is not None
    return lanes


def fill_tiles(
    sch: Schedule, anchor: Block, writer: Block, tiles: tuple[Loop, ...], choice: TileChoice, target: Target
) -> None:
    """Makes each tile of C: accumulators in registers, k outside, everything inside unrolled and vectorized.

    Args:
        tiles: the loops over the tiles that read one panel of B, outermost first.
    """
    if isinstance(choice, DotProductChoice):
        dot_product_schedule.fill_tiles(sch, anchor, writer, tiles, choice, target)
        return
    (tile,) = tiles
    rows, vectors, lanes = choice.rows, choice.vectors, lanes_of(sch, anchor)
    depth = len(sch.get_loops(writer)) - _TILE_LOOPS
    sch.set_scope(anchor, 0, "local")
    sch.compute_at(anchor, tile)
    # compute_at makes loops for the extents above 1 alone, in the order of the block's variables.
    inner = list(sch.get_loops(anchor))[depth:]
    row = inner.pop(0) if rows > 1 else None
    columns = []
    if vectors * lanes > 1:
        columns = list(sch.split(inner.pop(0), [vectors, lanes]))
    if not inner:  # a reduction of one element
        inner = [sch.add_unit_loop(anchor)]
    inside = INSIDE.of(sch.get(anchor)) or ()
    for loop, first in zip(inner, range(0, len(inside), 3), strict=False):
        sch.annotate(loop, INSIDE.name, list(inside[first : first + 3]))
    places = []
    if choice.k_step > 1:
        outer, place = sch.split(inner.pop(), [None, choice.k_step])
        if loaded_at_once(choice.k_step, target) > 1:
            sch.annotate(place, PLACES.name, loaded_at_once(choice.k_step, target))
        else:
            sch.unroll(place)
        inner, places = [*inner, outer], [place]
    terms = []
    if isinstance(choice, WeightProductChoice):  # those of a word are written out
        terms = [inner.pop()]
        if not inner:
            outer, term = sch.split(terms.pop(), [1, None])
            inner, terms = [outer], [term]
    # Else there is so little to do with a line that loads run ahead of it by themselves; or nothing waits for loads.
    if (rows > 1 or terms) and not target.core.single_issue:
        fewest = _FEWEST_STEPS if places else 1
        _ask_for_weights(sch, tile, inner, vectors * lanes * choice.k_step, fewest, target.core.line_bytes)
    if target.keeps_loops and not places:  # else as many steps are written out as there are registers for
        blocks.keep_innermost(sch, inner)
    unrolled = [*terms, *([row] if row is not None else []), *columns[:1]]
    sch.reorder(*inner, *places, *unrolled, *columns[1:])
    for loop in unrolled:
        sch.unroll(loop)
    if columns:
        sch.vectorize(columns[1])
    sch.decompose_reduction(anchor, inner[0])


def _ask_for_weights(sch: Schedule, tile: Loop, k: list[Loop], columns: int, fewest: int, line_bytes: int) -> None:
    """Prefetches in the loops over k: a line every few steps, or with few tiles of rows several lines a step.

    Args:
        k: outermost first; the last of them may become two.
        fewest: steps between two prefetches.
        line_bytes: of a cache line.
    """
    tiles, depth = blocks.extent(sch, tile), [blocks.extent(sch, loop) for loop in k]
    steps = prefetch.steps_between(tiles, depth[-1], columns, line_bytes)
    if steps:
        several = next((more for more in range(max(steps, fewest), depth[-1] + 1) if depth[-1] % more == 0), depth[-1])
        chunks, step = sch.split(k.pop(), [None, several])
        prefetch.mark(sch, tile, chunks, lines=math.ceil(several / steps))
        k += [chunks, step]
        return
    if prefetch.steps_between(tiles, 1 << 30, columns, line_bytes):
        return  # k has no such divisor: it is short
    step_bytes = columns * _FLOAT_BYTES
    ahead = prefetch.bytes_ahead(tiles, math.prod(depth) * step_bytes)
    prefetch.mark(sch, tile, k[-1], lines=prefetch.lines_a_step(tiles, 1, step_bytes, line_bytes), ahead=ahead)

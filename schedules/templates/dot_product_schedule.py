"""The schedule of contractions by dot-product instructions; `dot_product.py` is the algorithm and shows the loop nest.

The loops of one step of k are marked with what they are for an instruction. They stay serial:
`compiler/lowering/select_dots.py` puts instructions in their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from tvm.ir import TensorLoad
from tvm.s_tir import Schedule

from ...annotations import BLOCK_LINES, OVERLAP, ROLE, ROLES, STAGE, SUMS, TILES, UNIT
from ...targets.target import DotUnit, Target
from ..tensorir import blocks, prefetch
from ..tensorir.blocks import Block, Loop
from ..tensorir.expressions import dtype_bits
from .dot_product import OPERAND
from .dot_product_choice import DotProductChoice, depth_of

_MATRIX_AXES = 3  # of the first operand of a product without windows: batch, row, k
_TASKS_A_THREAD = 4
_SET_LINES = 8  # rows at such a distance share an eighth of the sets


def has_lines(sch: Schedule, anchor: Block) -> bool:
    """Whether the sums of a contraction are read by lines of pixels."""
    return BLOCK_LINES.of(sch.get(anchor)) is not None


def cut_lines(
    sch: Schedule, anchor: Block, tile_rows: int, line: Loop, pixel: Loop
) -> tuple[Loop, tuple[Loop, Loop, Loop]]:
    """Cuts the loops of the block that reads lines: into blocks of lines; a line, a tile of it, a row of that."""
    block, line = sch.split(line, [None, BLOCK_LINES.of(sch.get(anchor))])
    tile, row = sch.split(pixel, [None, tile_rows])
    return block, (line, tile, row)


def drop_copies(sch: Schedule, target: Target) -> None:
    """Inlines the stages that hold an operand as it already is in memory; the rows of the others are set apart.

    Rows that are a multiple of `_SET_LINES` lines apart share a few sets of the L1 cache: a tile of them is too many.
    """
    line_bytes = target.core.line_bytes
    set_bytes = _SET_LINES * line_bytes
    for block in blocks.child_blocks(sch):
        if STAGE.of(sch.get(block)) != OPERAND:
            continue
        if isinstance(sch.get(block).body.value, TensorLoad):
            sch.compute_inline(block)
            continue
        buffer = sch.get(block).writes[0].source
        size = dtype_bits(str(buffer.dtype)) // 8
        if int(buffer.shape[-1]) * size % set_bytes == 0:
            sch.storage_align(block, 0, -2, set_bytes // size, line_bytes // size)


def copies_of_blocks(sch: Schedule, anchor: Block, before: Sequence[Block], choice: DotProductChoice) -> list[Block]:
    """The copies of matrices of which each block of rows makes its own, where those are enough for all threads."""
    copied = [block for block in before if STAGE.of(sch.get(block)) == OPERAND]
    copied = [block for block in copied if len(sch.get(block).iter_vars) == _MATRIX_AXES]
    if not copied or has_lines(sch, anchor) or choice.k_splits > 1:
        return []
    batch, rows, *_ = (int(extent) for extent in sch.get(anchor).writes[0].source.shape)
    tasks = batch * math.ceil(rows / (choice.tile_rows * choice.row_tiles))
    return copied if choice.threads == 1 or tasks >= _TASKS_A_THREAD * choice.threads else []


def fill_tiles(
    sch: Schedule, anchor: Block, writer: Block, tiles: Sequence[Loop], choice: DotProductChoice, target: Target
) -> None:
    """Makes each tile of C where `writer` reads it: k outside, one instruction's loops innermost, all marked.

    Args:
        tiles: the loops over the tiles that read one panel of B, outermost first.
    """
    tile, unit = tiles[-1], target.unit(choice.unit)
    # Tiles are stored to the workspace, where rows start at cache lines; on the stack they would not.
    if not unit.is_matrix:
        sch.set_scope(anchor, 0, "local")
    sch.compute_at(anchor, tile, preserve_unit_loops=True)
    count = len(sch.get(anchor).iter_vars)
    spatial = 4 if has_lines(sch, anchor) else 3
    loops = list(sch.get_loops(anchor))[-count:]
    row, column = loops[spatial - 2 : spatial]
    *k, group, term = loops[spatial:]
    run = blocks.extent(sch, group) * blocks.extent(sch, term)
    depth = depth_of(run, unit)
    groups = depth // blocks.extent(sch, term)
    register, row = sch.split(row, [choice.row_registers, choice.rows])
    vector, lane = sch.split(column, [choice.vectors, unit.lanes])
    chunk, group = sch.split(group, [None, groups])
    step = (register, row, vector, lane, group, term)
    columns = choice.vectors * unit.lanes
    step_bytes = depth * columns * dtype_bits(unit.rhs) // 8
    k = [*k, chunk]
    if target.core.single_issue:
        k = _in_pairs(sch, k) if unit.group * unit.lanes > 1 else k  # else a step takes all registers
    else:
        k = _with_prefetches(sch, tiles, k, columns, step_bytes, unit, target.core.line_bytes)
    sch.reorder(*k, *step)
    for loop, role in zip(step, ROLES, strict=True):
        sch.annotate(loop, ROLE.name, role)
    sch.annotate(register, UNIT.name, unit.name)
    sch.annotate(k[0], SUMS.name, 1)
    if target.keeps_loops:
        blocks.keep_innermost(sch, k)
    sch.annotate(tile, TILES.name, 1)
    if unit.is_matrix:
        sch.annotate(tile, OVERLAP.name, 1)
    sch.decompose_reduction(anchor, k[0])


def _in_pairs(sch: Schedule, k: Sequence[Loop]) -> list[Loop]:
    """The loops over k with two steps written out: counting them takes instructions, too."""
    *outer, chunk = k
    if blocks.extent(sch, chunk) % 2:
        return list(k)
    chunk, step = sch.split(chunk, [None, 2])
    sch.unroll(step)
    return [*outer, chunk, step]


def _with_prefetches(
    sch: Schedule,
    tiles: Sequence[Loop],
    k: Sequence[Loop],
    columns: int,
    step_bytes: int,
    unit: DotUnit,
    line_bytes: int,
) -> list[Loop]:
    """The loops over k, cut where lines of B are asked for ahead of time, and marked.

    Args:
        columns: of a panel.
        step_bytes: of B that a step of k reads.
    """
    *outer, chunk = k
    count = math.prod(blocks.extent(sch, loop) for loop in tiles)
    steps = math.prod(blocks.extent(sch, loop) for loop in k)
    ahead = prefetch.bytes_ahead(count, steps * step_bytes)
    if unit.is_matrix:  # a step takes long enough to ask for several
        lines = prefetch.lines_a_step(count, steps, step_bytes, line_bytes)
        prefetch.mark(sch, tiles[0], chunk, lines=lines, ahead=ahead)
        return list(k)
    between = prefetch.steps_between(count, blocks.extent(sch, chunk), columns, line_bytes)
    if not between:
        return list(k)
    chunk, step = sch.split(chunk, [None, between])
    prefetch.mark(sch, tiles[0], chunk, ahead=ahead)
    return [*outer, chunk, step]

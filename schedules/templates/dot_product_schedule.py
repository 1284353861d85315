"""The schedule of contractions by dot-product instructions; `dot_product.py` is the algorithm and shows the loop nest.

The loops of one step of k are marked with what they are for an instruction. They stay serial:
`compiler/lowering/select_dots.py` puts instructions in their place.
"""

from __future__ import annotations

from tvm.ir import TensorLoad
from tvm.s_tir import Schedule

from ...annotations import BLOCK_LINES, ROLE, ROLES, STAGE, SUMS, TILES, UNIT
from ...targets.target import DotUnit
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from .dot_product import OPERAND, DotProductChoice, depth_of


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


def drop_copies(sch: Schedule) -> None:
    """Inlines the stages that hold an operand as it already is in memory."""
    for block in blocks.child_blocks(sch):
        if STAGE.of(sch.get(block)) == OPERAND and isinstance(sch.get(block).body.value, TensorLoad):
            sch.compute_inline(block)


def fill_tiles(
    sch: Schedule, anchor: Block, writer: Block, tile: Loop, choice: DotProductChoice, unit: DotUnit
) -> None:
    """Makes each tile of C where `writer` reads it: k outside, one instruction's loops innermost, all marked."""
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
    groups = depth_of(run, unit) // blocks.extent(sch, term)
    register, row = sch.split(row, [choice.row_registers, choice.rows])
    vector, lane = sch.split(column, [choice.vectors, unit.lanes])
    chunk, group = sch.split(group, [None, groups])
    step = (register, row, vector, lane, group, term)
    sch.reorder(*k, chunk, *step)
    for loop, role in zip(step, ROLES, strict=True):
        sch.annotate(loop, ROLE.name, role)
    outermost = [*k, chunk][0]
    sch.annotate(register, UNIT.name, unit.name)
    sch.annotate(outermost, SUMS.name, 1)
    sch.annotate(tile, TILES.name, 1)
    sch.decompose_reduction(anchor, outermost)

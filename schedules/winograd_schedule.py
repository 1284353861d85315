"""The schedule of the Winograd template; `winograd.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

from tvm.s_tir import Schedule

from ..targets.target import Target
from . import blocks, plain
from .blocks import Block, Loop
from .contraction_schedule import schedule_sums
from .winograd import RESULT, STAGES


def schedule_kernel(sch: Schedule, target: Target) -> None:
    """Schedules a kernel around the contractions of one Winograd convolution."""
    (anchor,) = blocks.anchors(sch)
    choice = dict(zip(_PARAMETERS, blocks.parameters(sch, anchor, *_PARAMETERS), strict=True))
    lanes = choice["lanes"]
    stage = {name: sch.get_sblock(name) for name in STAGES}
    epilogue = sch.get_sblock(RESULT)
    blocks.inline_producers(sch, [anchor])
    leftover = blocks.absorb_consumers(sch, epilogue)
    before = [block for block in blocks.stages(sch, anchor) if sch.get(block).name_hint not in STAGES]
    for block in [*before, *leftover]:
        plain.schedule_block(sch, block, target)

    task, vector, (i, j, lane) = _cut_epilogue(sch, epilogue, stage["pixels"], choice, target)
    sch.compute_at(stage["result_columns"], vector, preserve_unit_loops=True)
    sch.compute_at(stage["result_rows"], vector, preserve_unit_loops=True)
    sch.compute_at(stage["products"], task, preserve_unit_loops=True)
    schedule_sums(sch, anchor, stage["products"])

    if choice["column_tasks"] == 1:
        sch.compute_at(stage["data_columns"], task, preserve_unit_loops=True)
    data_i, data_j, tile, channel = sch.get_loops(stage["data_columns"])[-4:]
    data_vector, data_lane = sch.split(channel, [None, lanes])
    sch.reorder(tile, data_vector, data_i, data_j, data_lane)
    if choice["column_tasks"] > 1:
        sch.parallel(tile)
    sch.compute_at(stage["data_rows"], data_vector, preserve_unit_loops=True)
    for name in ("data_rows", "result_rows", "result_columns"):
        _keep_in_registers(sch, stage[name])
    for loop in (data_i, data_j, i, j):
        sch.unroll(loop)
    for loop in (data_lane, lane):
        sch.vectorize(loop)


_PARAMETERS = ("outputs", "rows", "row_tiles", "column_tasks", "lanes")


def _cut_epilogue(
    sch: Schedule, epilogue: Block, pixels: Block, choice: dict[str, int], target: Target
) -> tuple[Loop, Loop, tuple[Loop, Loop, Loop]]:
    """Cuts the writing loops into tasks, tiles and vectors.

    Returns:
        The loop over tasks, the innermost loop around one vector of one tile, and the loops of that vector: over the
        tile's rows and columns of pixels, and the lanes.
    """
    image, y, x, channel = blocks.follow_axes(sch, epilogue, sch.get(pixels).writes[0].source)
    sch.compute_inline(pixels)
    tile_y, i = sch.split(y, [None, choice["outputs"]])
    tile_x, j = sch.split(x, [None, choice["outputs"]])
    columns, vector, lane = sch.split(channel, [choice["column_tasks"], None, choice["lanes"]])
    sch.reorder(image, tile_y, tile_x, columns, vector, i, j, lane)
    block_of_tiles, tile = sch.split(sch.fuse(image, tile_y, tile_x), [None, choice["rows"] * choice["row_tiles"]])
    sch.reorder(block_of_tiles, columns, tile)
    task = sch.fuse(block_of_tiles, columns)
    if target.cores > 1 and blocks.extent(sch, task) > 1:
        sch.parallel(task)
    return task, vector, (i, j, lane)


def _keep_in_registers(sch: Schedule, block: Block) -> None:
    """Unrolls a stage of a transform, one tile and one vector of channels, in local memory."""
    sch.set_scope(block, 0, "local")
    *outer, lane = sch.get_loops(block)[-3:]
    for loop in outer:
        sch.unroll(loop)
    sch.vectorize(lane)

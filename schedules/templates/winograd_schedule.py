"""The schedule of the Winograd template; `winograd.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Range, TensorLoad, TensorRegion
from tvm.s_tir import SBlock, SBlockRealize, Schedule

from ...annotations import DILATION
from ...ir_types import Load, Scalar
from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.expressions import dtype_bits, int64
from ..tensorir.rebuild import substituted
from . import plain
from .contraction_schedule import schedule_sums
from .winograd import RESULT, STAGES
from .winograd_choice import WinogradChoice, pixel_at, tiles_along, vector_lanes


def schedule_kernel(sch: Schedule, choice: WinogradChoice, target: Target) -> None:
    """Schedules a kernel around the contractions of one Winograd convolution."""
    (anchor,) = blocks.anchors(sch)
    stage = {name: sch.get_sblock(name) for name in STAGES}
    epilogue = sch.get_sblock(RESULT)
    blocks.inline_producers(sch, [anchor])
    leftover = blocks.absorb_consumers(sch, epilogue)
    before = [block for block in blocks.stages(sch, anchor) if sch.get(block).name_hint not in STAGES]
    for block in [*before, *leftover]:
        plain.schedule_block(sch, block, choice.threads, target)

    task, vector, (i, j, lane) = _cut_epilogue(sch, epilogue, stage["pixels"], choice, target)
    sch.compute_at(stage["result_columns"], vector, preserve_unit_loops=True)
    sch.compute_at(stage["result_rows"], vector, preserve_unit_loops=True)
    sch.compute_at(stage["products"], task, preserve_unit_loops=True)
    point, tile, group, column = sch.get_loops(stage["products"])[-4:]
    sch.reorder(point, group, tile, column)
    schedule_sums(sch, anchor, stage["products"], choice.tile, target)

    if choice.column_tasks == 1:
        sch.compute_at(stage["data_columns"], task, preserve_unit_loops=True)
    data_i, data_j, tile, channel = sch.get_loops(stage["data_columns"])[-4:]
    data_bits = dtype_bits(str(sch.get(stage["data_columns"]).writes[0].source.dtype))
    data_lanes = vector_lanes(blocks.extent(sch, channel), target.lanes(data_bits))
    data_vector, data_lane = sch.split(channel, [None, data_lanes])
    sch.reorder(tile, data_vector, data_i, data_j, data_lane)
    if choice.column_tasks > 1:
        blocks.share(sch, tile, choice.threads)
    sch.compute_at(stage["data_rows"], data_vector, preserve_unit_loops=True)
    for name in ("data_rows", "result_rows", "result_columns"):
        _keep_in_registers(sch, stage[name])
    for loop in (data_i, data_j, i, j):
        sch.unroll(loop)
    for loop in (data_lane, lane):
        sch.vectorize(loop)


def _cut_epilogue(
    sch: Schedule, epilogue: Block, pixels: Block, choice: WinogradChoice, target: Target
) -> tuple[Loop, Loop, tuple[Loop, Loop, Loop]]:
    """Cuts the writing loops into tasks, tiles and vectors.

    Returns:
        The loop over tasks, the innermost loop around one vector of one tile, and the loops of that vector: over the
        tile's rows and columns of pixels, and the lanes.
    """
    buffer = sch.get(pixels).writes[0].source
    blocks.follow_axes(sch, epilogue, buffer)
    axes = list(blocks.loads(sch.get(epilogue).body, buffer)[0].indices)
    _, *outputs, _ = (int(extent) for extent in sch.get(pixels).reads[0].source.ty.shape)
    dilation = DILATION.of(sch.get(pixels))
    assert dilation is not None
    sch.compute_inline(pixels)
    shape = [int(extent) for extent in buffer.ty.shape]
    tile, i, j, channel = _count_by_tiles(sch, epilogue, axes, shape, list(zip(outputs, dilation, strict=True)))
    lanes = vector_lanes(shape[-1], target.lanes())
    columns, vector, lane = sch.split(channel, [choice.column_tasks, None, lanes])
    block_of_tiles, tile = sch.split(tile, [None, choice.block])
    sch.reorder(block_of_tiles, columns, tile, vector, i, j, lane)
    task = sch.fuse(block_of_tiles, columns)
    blocks.share(sch, task, choice.threads)
    return task, vector, (i, j, lane)


def _count_by_tiles(
    sch: Schedule, epilogue: Block, axes: Sequence[Scalar], shape: Sequence[int], tiles: Sequence[tuple[int, int]]
) -> list[Loop]:
    """Gives the block that writes pixels one loop over all tiles and two over a tile's pixels.

    A block of tiles may begin in one image and end in the next. That it needs consecutive tiles, and no others, TVM
    sees only where one variable counts the tiles of all images.

    Args:
        axes: the block's own variables, or a constant, for (image, row, column, channel).
        shape: their extents.
        tiles: the rows and the columns of a tile's pixels, and how far from each other they are.

    Returns:
        The loops: over tiles, their rows and columns of pixels, and channels.
    """
    old = sch.get(epilogue)
    images, height, width, channels = shape
    sizes = zip((height, width), tiles, strict=True)
    rows, columns = (tiles_along(extent, *tile) for extent, tile in sizes)
    extents = (images * rows * columns, *(own for own, _ in tiles), channels)
    variables = [tirx.IterVar(Range(int64(0), int64(extent)), f"v{axis}", 0) for axis, extent in enumerate(extents)]
    analyzer = tvm.sym.Analyzer()
    for each in variables:
        analyzer.bind(each.var, each.dom)
    pixel = _pixel([each.var for each in variables], images, rows, columns, tiles)
    place = {axis: value for axis, value in zip(axes, pixel, strict=True) if isinstance(axis, tirx.Var)}

    def simplified(load: Load) -> Load:
        return tirx.BufferLoad(load.source, [analyzer.simplify(index) for index in load.indices])

    def moved(region: Any) -> Any:
        points = [analyzer.simplify(substituted(each.min, place)) for each in region.region]
        ranges = [Range.from_min_extent(point, each.extent) for point, each in zip(points, region.region, strict=True)]
        return TensorRegion(region.source, ranges, region.ty)

    body = tvm_ffi.structural_map(substituted(old.body, place), (TensorLoad, simplified))
    reads, writes = ([moved(region) for region in regions] for regions in (old.reads, old.writes))
    block = SBlock(variables, reads, writes, old.name_hint, body, annotations=dict(old.annotations))

    loops = [tirx.Var(f"ax{axis}", "int64") for axis in range(len(extents))]
    _, *at, _ = _pixel(loops, images, rows, columns, tiles)
    ends = zip(at, (height, width), tiles, strict=True)
    inside = [place < extent for place, extent, (own, apart) in ends if extent % (own * apart)]
    nest = SBlockRealize(loops, tirx.all(*inside) if inside else True, block)
    for loop, extent in reversed(list(zip(loops, extents, strict=True))):
        nest = tirx.For(loop, int64(0), int64(extent), tirx.ForKind.SERIAL, nest)
    sch.state.replace(sch.get_sref(sch.get_loops(epilogue)[0]), nest, {old: block})
    return list(sch.get_loops(epilogue))


def _pixel(
    counted: Sequence[Scalar], images: int, rows: int, columns: int, tiles: Sequence[tuple[int, int]]
) -> tuple[Scalar, Scalar, Scalar, Scalar]:
    """Image, row, column and channel of (tile, row in it, column in it, channel)."""
    tile, i, j, channel = counted
    line, column = tile // columns, pixel_at(tile % columns, j, *tiles[1])
    if images == 1:  # without remainder: what says where an image ends is simpler then
        return int64(0), pixel_at(line, i, *tiles[0]), column, channel
    return tile // (rows * columns), pixel_at(line % rows, i, *tiles[0]), column, channel


def _keep_in_registers(sch: Schedule, block: Block) -> None:
    """Unrolls a stage of a transform, one tile and one vector of channels, in local memory."""
    sch.set_scope(block, 0, "local")
    *outer, lane = sch.get_loops(block)[-3:]
    for loop in outer:
        sch.unroll(loop)
    sch.vectorize(lane)

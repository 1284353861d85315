"""The schedule of the window template; `window.py` is its algorithm and shows the loop nest."""

from __future__ import annotations

import math

from tvm.s_tir import Schedule

from ..targets.target import Target
from . import blocks, plain
from .blocks import Loop

# Offsets up to which a window is unrolled entirely, so that neighbouring positions share their loads.
_UNROLLED_OFFSETS = 9
_MAX_POSITIONS = 4
_MAX_VECTORS = 4


def schedule_kernel(sch: Schedule, target: Target) -> None:
    """Schedules a kernel around one window block."""
    (anchor,) = blocks.anchors(sch)
    blocks.inline_producers(sch, [anchor])
    epilogue = sch.cache_write(anchor, 0, "local")
    leftover = blocks.absorb_consumers(sch, epilogue)
    for block in [*blocks.stages(sch, anchor), *leftover]:
        plain.schedule_block(sch, block, target)

    variables = sch.get(anchor).iter_vars
    spatial = [int(var.dom.extent) for var in variables if int(var.iter_type) == 0]
    offsets = [int(var.dom.extent) for var in variables if int(var.iter_type) == 2]
    lanes = target.lanes()
    loops = list(sch.get_loops(epilogue))
    channel = loops.pop()
    channels = spatial[-1]
    position: Loop | None = None
    positions = 1
    if len(loops) > 1 and math.prod(offsets) <= _UNROLLED_OFFSETS:
        positions = _largest_divisor(spatial[-2], _MAX_POSITIONS)
        outer, position = sch.split(loops.pop(), [None, positions])
        loops.append(outer)
    vectorized = channels % lanes == 0 and lanes > 1
    if vectorized:
        vectors = 1 if positions > 1 else _largest_divisor(channels // lanes, _MAX_VECTORS)
        panel, vector, lane = sch.split(channel, [None, vectors, lanes])
    else:
        panel, vector, lane = sch.split(channel, [None, 1, 1]) if channels == 1 else (None, None, channel)
    order = [*loops, *([panel] if panel is not None else []), *([position] if position is not None else [])]
    order += [vector] if vector is not None else []
    sch.reorder(*order, lane)
    at = panel if panel is not None else loops[-1] if loops else None
    if at is not None:
        sch.compute_at(anchor, at)
    _schedule_sum(sch, anchor, len(offsets), depth=len(loops) + (panel is not None), vectorized=vectorized, target=target)
    if position is not None:
        sch.unroll(position)
    if vectorized:
        sch.unroll(vector)
        sch.vectorize(lane)
    if math.prod(spatial) * math.prod(offsets) >= plain.PARALLEL_ELEMENTS and target.cores > 1:
        outer_loops = [*loops, panel] if panel is not None and math.prod(spatial[:-1]) < 4 * target.cores else loops
        fused = sch.fuse(*outer_loops) if len(outer_loops) > 1 else outer_loops[0] if outer_loops else None
        if fused is not None and blocks.extent(sch, fused) > 1:
            sch.parallel(fused)


def _schedule_sum(sch: Schedule, anchor: blocks.Block, rank: int, depth: int, vectorized: bool, target: Target) -> None:
    """Orders the anchor's own loops: offsets outside, positions and vectors unrolled inside."""
    inner = list(sch.get_loops(anchor))[depth:]
    extents = [blocks.extent(sch, loop) for loop in inner]
    window = [loop for loop, kind in zip(inner, _kinds(sch, anchor, inner), strict=True) if kind == "reduction"]
    rest = [loop for loop in inner if loop not in window]
    lane = None
    if vectorized:
        vector, lane = sch.split(rest.pop(), [None, target.lanes()])
        rest.append(vector)
    sch.reorder(*window, *rest, *([lane] if lane is not None else []))
    if math.prod(extents) and window:
        size = math.prod(blocks.extent(sch, loop) for loop in window)
        init = sch.decompose_reduction(anchor, window[0])
        del init
        if size <= _UNROLLED_OFFSETS:
            for loop in window:
                sch.unroll(loop)
    if vectorized:
        for loop in rest:
            sch.unroll(loop)
        sch.vectorize(lane)


def _largest_divisor(value: int, limit: int) -> int:
    return max(divisor for divisor in range(1, limit + 1) if value % divisor == 0)

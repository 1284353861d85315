"""What schedules of contractions by grids have in common, whatever multiplies: `simt`, `tensor_cores`, `warp_groups`.

A block of threads has a tile of sums. What it multiplies lies in shared memory, a slab of k at a time, copied there by
all its threads; what reads the sums is part of the grid; stages before and after have grids of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm.s_tir import Schedule

from ...annotations import STAGE
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from . import grid
from .microkernel import STAGED


@dataclass(frozen=True)
class Sums:
    """The blocks of a contraction: what stages the rows it multiplies, what multiplies, what reads the sums."""

    staged: Block
    anchor: Block
    writer: Block


def schedule_kernel(sch: Schedule, k_splits: int, schedule: Callable[[Sums], None]) -> None:
    """Schedules a kernel around its only contraction.

    Args:
        sch: the schedule.
        k_splits: of how many slices of k sums are made, each by blocks of threads of its own.
        schedule: makes a grid of the contraction and what reads its sums.
    """
    (anchor,) = blocks.anchors(sch)
    (writer,) = sch.get_consumers(anchor)
    blocks.inline_producers(sch, [anchor])
    if k_splits > 1:  # what reads a tile stores it, and others add the sums of slices
        (added,) = sch.get_consumers(writer)
        blocks.absorb_consumers(sch, added)
    else:
        blocks.absorb_consumers(sch, writer)
    staged = next(each for each in sch.get_producers(anchor) if STAGE.of(sch.get(each)) == STAGED)
    outside = _names(sch) - {sch.get(each).name_hint for each in (staged, anchor, writer)}
    schedule(Sums(staged, anchor, writer))
    grid.schedule_rest(sch, _names(sch) - outside)


def _names(sch: Schedule) -> set[str]:
    return {sch.get(each).name_hint for each in blocks.child_blocks(sch)}


def share_operands(sch: Schedule, sums: Sums, slab: Loop) -> tuple[list[Loop], list[Loop]]:
    """Both operands of a slab of k are copied to shared memory; returns the loops of each copy, of rows and columns."""
    rows = sch.get(sums.staged).writes[0].source
    packed = next(i for i, each in enumerate(sch.get(sums.anchor).reads) if not each.source.same_as(rows))
    sch.set_scope(sums.staged, 0, "shared")
    columns = sch.cache_read(sums.anchor, packed, "shared")
    sch.annotate(columns, STAGE.name, STAGED)
    loops = []
    for copy in (sums.staged, columns):
        sch.compute_at(copy, slab, preserve_unit_loops=True)
        loops.append(list(sch.get_loops(copy))[blocks.depth(sch, copy, slab) :])
    return loops[0], loops[1]


def bind_copy(sch: Schedule, loops: list[Loop], threads: tuple[int, int]) -> None:
    """Threads, so many along y and x, copy what loops go over; those side by side what is, at the same time."""
    _, row, column = sch.split(sch.fuse(*loops) if len(loops) > 1 else loops[0], [None, *threads])
    if threads[0] > 1:
        sch.bind(row, f"{grid.THREAD}y")
    sch.bind(column, f"{grid.THREAD}x")

"""Rows that are reduced, by grids: a block of threads for each row, its partial results in memory that they share.

It computes what `rows.py` computes, with a partial result for each thread:

    block (row)
        for stage in (maximum, exponentials, sum, output)
            for steps, thread:  shared partial[thread] = ...        a row, or so many partial results
            barrier                                                 halves are joined by half as many threads
        what is one number a row is computed by every thread, in a register
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import (
    Block,
    Loop,
    written_shape,
)
from . import grid
from .grid import MEMORY_CYCLES
from .rows_choice import Rows, RowsChoice
from .template import fewest_cycles

_MOST_THREADS = 1 << 9
_STEP_CYCLES, _BARRIER_CYCLES = 8, 40
# What intermediate results as long as a row may take of what a block shares; longer ones are computed again.
_SHARED_SHARE = 0.75


def takes(workload: object, target: Target) -> bool:
    """Rows."""
    return isinstance(workload, Rows)


def space(workload: Rows, target: Target) -> Iterator[RowsChoice]:
    """As many partial results as threads, powers of two up to a row; none: a thread for each row."""
    yield RowsChoice(0, on_stack=False)
    threads = target.the_grid.warp
    while threads <= min(workload.length, _MOST_THREADS):
        yield RowsChoice(threads, on_stack=False)
        threads *= 2


def estimate(workload: Rows, choice: RowsChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    machine, threads = target.the_grid, max(1, choice.registers)
    steps = math.ceil(workload.length / threads)
    block: float = steps * _STEP_CYCLES * (3 if workload.stays else 1) + MEMORY_CYCLES
    block += _BARRIER_CYCLES * math.log2(threads) * (2 if workload.stays else 1)
    # Neighbours that read far apart read a line each.
    apart = 1 if choice.registers else min(workload.length, 8)
    at_a_time = machine.multiprocessors * machine.threads // max(threads, machine.warp)
    if not choice.registers:
        at_a_time = machine.multiprocessors * machine.threads
    return math.ceil(workload.count / at_a_time) * block * apart


default = fewest_cycles(space, estimate)


def schedule_kernel(sch: Schedule, choice: RowsChoice, target: Target) -> None:
    """Schedules a kernel of several stages along rows."""
    stages = blocks.anchors(sch)
    if not choice.registers:
        grid.schedule_kernel(sch, grid.GridChoice(), target)
        return
    blocks.inline_producers(sch, stages)
    output = sch.get_consumers(stages[-1])[0]
    blocks.absorb_consumers(sch, output)
    grid.schedule_rest(sch, schedule_rows(sch, blocks.anchors(sch), output, choice, target))


def schedule_rows(sch: Schedule, stages: list[Block], output: Block, choice: RowsChoice, target: Target) -> set[str]:
    """Makes one grid of the stages of a row and what is made of them; returns the names of its blocks."""
    threads = choice.registers
    rank = len(written_shape(sch, stages[0])) - 1  # partial results come first, so many a row
    elements = {sch.get(stage).name_hint: math.prod(written_shape(sch, stage)[rank:]) for stage in stages}
    kept = [stage for stage in stages if not _computed_again(sch, stage, elements[sch.get(stage).name_hint], target)]
    row, inner = _row_of(sch, output, rank)
    sch.bind(row, f"{grid.BLOCK}x")
    names = {sch.get(output).name_hint}
    for stage in reversed(kept):
        several = elements[sch.get(stage).name_hint] > 1
        # A thread adds up in a register, and leaves to the others what it has when it is done.
        adds = several and blocks.is_reduction(sch, stage)
        writer = sch.cache_write(stage, 0, "local") if adds else stage
        names |= {sch.get(each).name_hint for each in (stage, writer)}
        sch.set_scope(writer, 0, "shared" if several else "local")
        sch.compute_at(writer, row, preserve_unit_loops=True)
        if several:
            loops = list(sch.get_loops(writer))[blocks.depth(sch, writer, row) :]
            thread = _share(sch, loops, threads)
            if adds:
                sch.compute_at(stage, thread, preserve_unit_loops=True)
    for stage in kept:
        terms = [int(var.iter_type) for var in sch.get(stage).iter_vars].count(blocks.REDUCTION)
        if terms:
            names.add(sch.get(sch.decompose_reduction(stage, list(sch.get_loops(stage))[-terms])).name_hint)
    _share(sch, inner or [sch.add_unit_loop(output)], threads)
    return names


def _computed_again(sch: Schedule, stage: Block, elements: int, target: Target) -> bool:
    """Inlines a stage whose results a block has no room for, if that can be."""
    is_long = elements * blocks.element_bits(sch, stage) // 8 > target.the_grid.shared_bytes * _SHARED_SHARE
    return is_long and blocks.try_primitive(partial(sch.compute_inline, stage))


def _row_of(sch: Schedule, output: Block, rank: int) -> tuple[Loop, list[Loop]]:
    """The loop over rows of the block behind the stages, and the loops inside of it."""
    loops = list(sch.get_loops(output))
    rows, inner = loops[:rank], loops[rank:]
    if not rows:
        rows = [sch.add_unit_loop(loops[0] if loops else output)]
    return (sch.fuse(*rows) if len(rows) > 1 else rows[0]), inner


def _share(sch: Schedule, loops: list[Loop], threads: int) -> Loop:
    """Gives the elements of a row to threads in turn; returns the loop over threads."""
    fused = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    _, thread = sch.split(fused, [None, threads])
    sch.bind(thread, f"{grid.THREAD}x")
    return thread

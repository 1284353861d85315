"""The plain schedule of machines that run grids: each block a grid of its own, a thread for each of its results.

It serves element-wise and layout kernels, windows, the stages of templates, and whatever no template of grids takes:

    block of threads, thread                results side by side are those of threads side by side
        local sum = identity                of reductions, in a register
        for terms: sum = ...                in order, so that the bits are always the same
        result = epilogue(sum)

What is written statement by statement, with loops or memory of its own that are not those of results, is one thread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tvm import s_tir
from tvm.s_tir import Schedule

from ...targets.target import Target
from ..tensorir import blocks
from ..tensorir.blocks import Block, Loop
from ..tensorir.rebuild import found
from . import plain
from .choices import Choice
from .plain import Elements

TEMPLATE = "grid"
BLOCK, THREAD = "blockIdx.", "threadIdx."
USUAL_THREADS = 256
# Cycles until what a thread reads from memory is there, and threads that hide them from each other.
MEMORY_CYCLES, _STEP_CYCLES = 600, 4
# Of a multiprocessor: cycles to begin a block, and bytes that it reads in one.
_BLOCK_CYCLES, _BYTES_PER_CYCLE = 4, 32


@dataclass(frozen=True)
class GridChoice(Choice):
    """So many threads a block."""

    block: int = USUAL_THREADS


class Threads(Protocol):
    """What choices of this schedule say."""

    @property
    def block(self) -> int:
        """Threads a block."""


def takes(workload: object, target: Target) -> bool:
    """Blocks."""
    return isinstance(workload, Elements)


def space(workload: Elements, target: Target) -> Iterator[GridChoice]:
    """All powers of two from a warp on."""
    return map(GridChoice, thread_counts(target))


def thread_counts(target: Target, most: int | None = None) -> Iterator[int]:
    """Threads that a block may have, powers of two from a warp on; no more than what has room for so many results."""
    threads = target.the_grid.warp
    yield threads
    while threads < target.the_grid.threads_per_block and (most is None or threads < most):
        threads *= 2
        yield threads


def default(workload: Elements, target: Target) -> GridChoice:
    """The usual number, fewer where there would not be a block for each multiprocessor."""
    grid = target.the_grid
    most = math.prod(workload.outer) * workload.axis / grid.multiprocessors
    fitting = [each for each in space(workload, target) if each.block <= min(most, USUAL_THREADS)]
    return fitting[-1] if fitting else GridChoice(grid.warp)


def estimate(workload: Elements, choice: GridChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    results = math.prod(workload.outer) * workload.axis
    steps = max(1, workload.terms) * (workload.loads + workload.functions + 1)
    moved = results * (max(1, workload.terms) * workload.loads + 1) * workload.bits / 8
    return elapsed(math.ceil(results / choice.block), choice.block, steps, moved, target)


def elapsed(count: int, threads: int, steps: int, bytes_moved: float, target: Target) -> float:
    """Estimated cycles until so many blocks of so many threads are done.

    Args:
        steps: of a thread, one after the other.
        bytes_moved: from memory and back.
    """
    grid = target.the_grid
    threads = math.ceil(threads / grid.warp) * grid.warp
    waves = math.ceil(count / (grid.multiprocessors * (grid.threads // threads)))
    busiest = math.ceil(count / grid.multiprocessors)  # blocks of one multiprocessor
    alone = waves * (MEMORY_CYCLES + steps * _STEP_CYCLES)
    computed = MEMORY_CYCLES + busiest * threads * steps / grid.fmas_per_cycle
    bytes_per_cycle = min(grid.bytes_per_cycle, min(count, grid.multiprocessors) * _BYTES_PER_CYCLE)
    return max(alone, computed, bytes_moved / bytes_per_cycle) + busiest * _BLOCK_CYCLES


def schedule_kernel(sch: Schedule, choice: Threads, target: Target) -> None:
    """Schedules any kernel."""
    plain.inline_all(sch)
    schedule_rest(sch, set(), choice.block)


def schedule_rest(sch: Schedule, done: set[str], threads: int = USUAL_THREADS) -> None:
    """Gives every block under the root a grid but for those of some names."""
    while True:
        block = next((each for each in blocks.child_blocks(sch) if sch.get(each).name_hint not in done), None)
        if block is None:
            return
        done.update(sch.get(each).name_hint for each in schedule_block(sch, block, threads))


def schedule_block(sch: Schedule, block: Block, threads: int) -> list[Block]:
    """Gives a block under the root a grid, a thread for each of its results; returns the blocks that are in it."""
    spatial, reduction = plain.loops_by_kind(sch, block)
    if not spatial or _has_memory(sch, block):
        return [block]
    if reduction and len(sch.get(block).writes) == 1:
        writer = sch.cache_write(block, 0, "local")
        blocks.absorb_consumers(sch, writer)
        sch.compute_at(block, _bind_tiles(sch, list(sch.get_loops(writer)), threads), preserve_unit_loops=True)
        init = sch.decompose_reduction(block, list(sch.get_loops(block))[-len(reduction)])
        return [block, writer, init]
    sch.reorder(*spatial, *reduction)
    _bind_elements(sch, spatial, threads)
    return [block, sch.decompose_reduction(block, reduction[0])] if reduction else [block]


def _bind_elements(sch: Schedule, loops: list[Loop], threads: int) -> None:
    """Makes loops over results a grid: threads side by side have results side by side, wherever an axis ends."""
    results = sch.fuse(*loops) if len(loops) > 1 else loops[0]
    count, thread = sch.split(results, [None, min(threads, 1 << (blocks.extent(sch, results) - 1).bit_length())])
    sch.bind(count, f"{BLOCK}x")
    sch.bind(thread, f"{THREAD}x")


def _bind_tiles(sch: Schedule, loops: list[Loop], threads: int) -> Loop:
    """Makes loops over results a grid of tiles of the last two axes; returns the innermost loop.

    A place in one loop of all axes would be divisions that TVM cannot take back when it looks for what a thread reads.
    """
    *outer, last = loops
    down, across = tile([blocks.extent(sch, loop) for loop in loops], threads)
    panel, column = sch.split(last, [None, across])
    inside = [column]
    if outer:
        line = outer.pop()
        line, row = sch.split(line, [None, down])
        outer.append(line)
        inside = [row, column]
        sch.reorder(*outer, panel, *inside)
        sch.bind(row, f"{THREAD}y")
    sch.bind(sch.fuse(*outer, panel) if outer else panel, f"{BLOCK}x")
    sch.bind(column, f"{THREAD}x")
    return column


def tile(extents: Sequence[int], threads: int) -> tuple[int, int]:
    """Rows and columns of the results that a block of so many threads has, of the last two axes of a reduction's."""
    *outer, last = extents
    across = min(last, threads)
    return (min(outer[-1], threads // across) if outer else 1), across


def _has_memory(sch: Schedule, block: Block) -> bool:
    """Whether a block has memory of its own that is not a thread's."""
    inside = found(sch.get(block), s_tir.SBlock)
    return any(buffer.scope() != "local" for each in inside for buffer in each.alloc_buffers)

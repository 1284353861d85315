"""Contractions by grids: a block of threads makes a tile of C, each of its threads a smaller one in registers.

It computes what `contraction.py` computes, with the same packed B, and operands that a block shares:

    block (batch, rows of the tile, panel of columns), thread (rows, columns)
        local C[rows, columns] = 0                          in registers
        for k, in slabs of `steps`
            shared A[tile rows, steps], B[steps, panel]     each thread copies some of both
            barrier
            for step, unrolled rows and columns             multiply-adds
            barrier
        epilogue(C) -> output                               bias, activation, residual, permutation

A is a stage of its own, of which a tile's part is all that ever exists: for a convolution its elements are those of the
image that they are the pixels of, padding included. Where tiles are too few for the machine, k is cut into slices,
whose sums are added in order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...targets.target import Target
from ..tensorir.expressions import dtype_bits
from .contraction import MultiplyAddChoice, Workload
from .grid import MEMORY_CYCLES
from .template import fewest_cycles

TEMPLATE = "simt"
# Results of a thread along rows and along columns; threads of a block along each; steps of k in a slab at most.
_TILES = (1, 2, 4, 8)
_THREADS = (1, 2, 4, 8, 16, 32, 64)
_MOST_STEPS, _LONG_STEPS = 16, 32
_FEWEST_THREADS, _MOST_THREADS = 32, 256
_MOST_RESULTS = 64
_SPARE_REGISTERS = 40
_MOST_SLICES, _SLICE_STEPS = 16, 64
_SLICED = 1.1  # how much longer slices take than their numbers say
# What is read from shared memory in a cycle of a multiprocessor, in elements; cycles of two barriers; of a launch.
_SHARED_PER_CYCLE, _BARRIERS, _LAUNCH = 32, 80, 1500


@dataclass(frozen=True)
class SimtChoice(MultiplyAddChoice):
    """A tile of `rows` * `row_tiles` rows by `vectors` columns, of which each thread has `rows` by `columns`.

    Attributes:
        columns: of a thread.
        steps: of k in a slab, a divisor of its last extent.
    """

    columns: int = 1
    steps: int = 1

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        return self.rows * self.row_tiles, self.vectors

    @property
    def block(self) -> tuple[int, int]:
        """Threads of a block along rows and columns."""
        return self.row_tiles, self.vectors // self.columns


def takes(workload: object, target: Target) -> bool:
    """Every contraction."""
    return isinstance(workload, Workload)


def space(workload: Workload, target: Target) -> Iterator[SimtChoice]:
    """All tiles that fit registers and shared memory, of whole warps; and slices of k."""
    grid, width = target.the_grid, dtype_bits(workload.accumulator) // 8
    slabs = _slabs(workload)
    for rows in _TILES:
        for columns in _TILES:
            for down in _THREADS:
                for across in _THREADS:
                    choice = SimtChoice(rows, across * columns, row_tiles=down, columns=columns)
                    if not _fits(workload, choice):
                        continue
                    for steps in slabs:
                        if sum(choice.tile) * steps * width <= grid.shared_bytes:
                            for count in _slices(workload, steps):
                                yield replace(choice, steps=steps, k_splits=count)


def _fits(workload: Workload, choice: SimtChoice) -> bool:
    """Whether a block is a few warps, and its tile not twice as large as it need be."""
    threads, (rows, columns) = math.prod(choice.block), choice.tile
    most = [max(1, 1 << (extent - 1).bit_length()) for extent in (workload.rows, workload.columns)]
    enough = _FEWEST_THREADS <= threads <= _MOST_THREADS
    return (
        enough
        and choice.rows * choice.columns <= _MOST_RESULTS
        and ((rows <= most[0] or choice.rows == 1) and (columns <= most[1] or choice.columns == 1))
    )


def _slabs(workload: Workload) -> list[int]:
    """Steps of k that a slab may have: the two longest that divide its last extent."""
    run = workload.k[-1]
    found = {max(each for each in range(1, most + 1) if run % each == 0) for most in (_MOST_STEPS, _LONG_STEPS)}
    return sorted(found)


def _slices(workload: Workload, steps: int) -> Iterator[int]:
    """Numbers of slices that the last extent of k can be cut into, of whole slabs."""
    run = workload.k[-1]
    total = math.prod(workload.k)
    for count in range(1, _MOST_SLICES + 1):
        if run % (count * steps) == 0 and (count == 1 or total >= count * _SLICE_STEPS):
            yield count


def estimate(workload: Workload, choice: SimtChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    grid, (rows, columns), threads = target.the_grid, choice.tile, math.prod(choice.block)
    depth = math.prod(workload.k) // choice.k_splits
    blocks = workload.batch * choice.k_splits * math.ceil(workload.rows / rows) * math.ceil(workload.columns / columns)
    registers = threads * (choice.rows * choice.columns + choice.rows + choice.columns + _SPARE_REGISTERS)
    resident = max(1, min(grid.threads // threads, grid.registers // registers))
    # One multiprocessor's cycles for a slab of one block: whatever is busiest; and how long the slab takes alone.
    multiply = rows * columns * choice.steps / grid.fmas_per_cycle
    shared = threads * choice.steps * (choice.rows + choice.columns) / _SHARED_PER_CYCLE / _load_width(choice)
    copied = (rows + columns) * choice.steps * 2 / _SHARED_PER_CYCLE
    slab, slabs = multiply + shared / 2 + copied, depth / choice.steps
    waves = math.ceil(blocks / (grid.multiprocessors * resident))
    busy = math.ceil(blocks / grid.multiprocessors) * slab * slabs
    alone = waves * slabs * (MEMORY_CYCLES + _BARRIERS + slab)
    a, b, c = workload.product_bytes
    moved = workload.batch * (a + b + c * choice.k_splits) / grid.bytes_per_cycle
    after = 0.0 if choice.k_splits == 1 else _LAUNCH + workload.batch * c * choice.k_splits / grid.bytes_per_cycle
    return max(busy, alone, moved) * (1.0 if choice.k_splits == 1 else _SLICED) + after


default = fewest_cycles(space, estimate)


def _load_width(choice: SimtChoice) -> int:
    """Elements that a thread loads from shared memory at once, of what lies side by side."""
    return min(choice.columns, 4)

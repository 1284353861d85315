"""Contractions by grids whose warps multiply pieces of matrices with one instruction.

It computes what `simt.py` computes, and looks the same: a thread has a tile of C of its own in registers. But 32
threads of a warp, 8 below and 4 beside each other, compute theirs together:

    block (batch, rows of the tile, panel of columns), warp (rows, columns), lane (row, column)
        local C[own rows, own columns] = 0
        for k, in slabs of `steps`                          a pipeline of `stages` slabs (`copies_ahead.py`)
            shared A[tile rows, steps], B[panel, steps]     elements side by side as asynchronous copies
            for terms of an instruction
                rows, columns of two: one instruction each  marked for `compiler/lowering/select_dots.py`
        epilogue(C) -> output

k is one run, however many axes it has: slabs need not end where a row of the filter does. It is padded with zeros to
whole slabs. A run of A is as long as channels (of a slice) let it be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

from ...targets.grid import MOST_AHEAD
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import dtype_bits
from .contraction import Workload
from .cutting import CutChoice
from .grid import MEMORY_CYCLES
from .template import fewest_cycles

TEMPLATE = "tensor_cores"
# Threads of a warp below and beside each other; results of an instruction that each has, along rows and along columns.
LANES, OWN = (8, 4), (2, 2)
_PIECES, _PANELS, _WARPS = (1, 2, 4), (1, 2, 4, 8), (1, 2, 4)
_MOST_PIECES, _MOST_WARPS = 32, 8  # of a warp in all; of a block
RUN_BYTES = 16  # that are copied at once, at most
_SLAB_BYTES = (32, 64, 128)
_STAGES = tuple(range(2, MOST_AHEAD + 2))
_FEWEST_COLUMNS = 8
_MOST_SLICES, _SLICE_BYTES, _SLICED = 16, 256, 1.1
# Registers of a thread beside sums and operands; cycles of a barrier and of what begins a slab; of a launch; bytes of
# shared memory that are read or written in a cycle.
SPARE_REGISTERS, _SLAB_OVERHEAD, _LAUNCH, SHARED_BYTES = 40, 30, 1500, 128
# Parts of a multiprocessor, each of which works for warps of its own; how much faster L2 is than memory; bytes that an
# asynchronous copy takes at least, and how much longer a copy takes that is none.
_PARTS, _L2_SHARE, _WORD_BYTES, ONE_BY_ONE = 4, 2.5, 4, 8
_BESIDE = 0.02  # of what is not what takes longest


@dataclass(frozen=True)
class TensorChoice(CutChoice):
    """Which unit multiplies, in what tiles.

    Attributes:
        unit: its name.
        pieces, panels: instructions of a warp below and beside each other.
        warps: of a block below and beside each other.
        steps: elements of k in a slab.
        stages: slabs in shared memory at a time.
    """

    template: ClassVar[str] = TEMPLATE

    unit: str
    pieces: int
    panels: int
    warps: tuple[int, int]
    steps: int
    stages: int

    @property
    def own(self) -> tuple[int, int]:
        """Results of a thread along rows and columns."""
        return self.pieces * OWN[0], self.panels * OWN[1]

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        rows, columns = (own * lanes * warps for own, lanes, warps in zip(self.own, LANES, self.warps, strict=True))
        return rows, columns


Chosen = TypeVar("Chosen", bound=TensorChoice)


def units_of(workload: Workload, target: Target, rows: int) -> tuple[DotUnit, ...]:
    """The units that multiply its operands, so many rows with an instruction."""
    found = target.units_for(workload.lhs, workload.rhs, workload.accumulator)
    return tuple(unit for unit in found if unit.rows == rows)


def _units(workload: Workload, target: Target) -> tuple[DotUnit, ...]:
    return units_of(workload, target, LANES[0] * OWN[0])


def takes(workload: object, target: Target) -> bool:
    """Contractions of operands that a unit multiplies, of several columns."""
    return isinstance(workload, Workload) and workload.columns >= _FEWEST_COLUMNS and bool(_units(workload, target))


def run_of(workload: Workload, unit: DotUnit) -> int:
    """Elements of A that are copied at once: a power of two, a divisor of the last extent of k."""
    return min(RUN_BYTES * 8 // dtype_bits(unit.lhs), workload.k[-1] & -workload.k[-1])


def slabs_of(workload: Workload, choice: TensorChoice) -> int:
    """Slabs that k is padded to."""
    return math.ceil(math.prod(workload.k) / choice.steps)


def shared_bytes(choice: TensorChoice, unit: DotUnit) -> int:
    """What a block shares."""
    return choice.stages * sum(choice.tile) * choice.steps * dtype_bits(unit.lhs) // 8


def space(workload: Workload, target: Target) -> Iterator[TensorChoice]:
    """All tiles that fit registers and shared memory, none twice as large as it need be; slices of k."""
    grid = target.the_grid
    most = [max(16, 1 << (extent - 1).bit_length()) for extent in (workload.rows, workload.columns)]
    for unit in _units(workload, target):
        for choice in _tiles(unit):
            rows, columns = choice.tile
            fits = (rows <= most[0] or rows == LANES[0] * OWN[0]) and (columns <= most[1])
            if not fits or shared_bytes(choice, unit) > grid.most_shared_bytes:
                continue
            if choice.stages > _STAGES[0] and not grid.has_async_copies:
                continue
            yield choice
            yield from in_slices(workload, choice, unit)


def _tiles(unit: DotUnit) -> Iterator[TensorChoice]:
    for pieces in _PIECES:
        for panels in _PANELS:
            for down in _WARPS:
                for across in _WARPS:
                    if pieces * panels > _MOST_PIECES or down * across > _MOST_WARPS:
                        continue
                    for slab in _SLAB_BYTES:
                        for stages in _STAGES:
                            steps = slab * 8 // dtype_bits(unit.lhs)
                            yield TensorChoice(unit.name, pieces, panels, (down, across), steps, stages)


def in_slices(workload: Workload, choice: Chosen, unit: DotUnit) -> Iterator[Chosen]:
    """The same with k cut into slices, which are no shorter than a few slabs and as good to copy."""
    run, total = workload.k[-1], math.prod(workload.k) * dtype_bits(unit.lhs) // 8
    for count in range(2, _MOST_SLICES + 1):
        if run % (count * run_of(workload, unit)) == 0 and total >= count * _SLICE_BYTES:
            yield replace(choice, k_splits=count)


@dataclass(frozen=True)
class Work:
    """What blocks do of a choice, for its estimate.

    Attributes:
        threads: of a block.
        registers: of a thread.
        slab: cycles of a multiprocessor for a slab of one block, where so many share it.
        ahead: slabs that are on the way.
        latency: cycles until the products of a slab are there, beyond those of multiplying.
    """

    threads: int
    registers: int
    slab: Callable[[int], float]
    ahead: int
    latency: float


def estimate(workload: Workload, choice: TensorChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    grid, unit, (rows, columns) = target.the_grid, target.unit(choice.unit), choice.tile
    size, warps = dtype_bits(unit.lhs) / 8, math.prod(choice.warps)
    part = workload.sliced(choice.k_splits)
    # What there is of a slab on one multiprocessor: instructions, bytes that are copied, bytes of operands.
    instructions = choice.steps / unit.depth * warps * choice.pieces * choice.panels
    copied = (rows + columns) * choice.steps * size
    loaded = choice.steps * size * warps * (choice.pieces * unit.rows + choice.panels * unit.lanes)
    # Elements that are copied one by one take a few instructions each, of all threads.
    whole = copies_whole(part, unit, target)
    memory = (loaded + copied * (1 if whole else ONE_BY_ONE)) / SHARED_BYTES

    def slab(count: int) -> float:
        return max(instructions / _rate(choice, unit, count * warps), memory)

    registers = math.prod(choice.own) + 4 * choice.pieces + 2 * choice.panels + SPARE_REGISTERS
    work = Work(warps * grid.warp, registers, slab, choice.stages - 1, unit.costs.latency)
    return cycles_of(workload, choice, target, work)


default = fewest_cycles(space, estimate)


def copies_whole(part: Workload, unit: DotUnit, target: Target) -> bool:
    """Whether A is copied in runs, without passing registers."""
    return run_of(part, unit) * dtype_bits(unit.lhs) // 8 >= _WORD_BYTES and target.the_grid.has_async_copies


def cycles_of(workload: Workload, choice: TensorChoice, target: Target, work: Work) -> float:
    """Estimated cycles until the last block is done, of blocks that do this."""
    grid, unit, (rows, columns) = target.the_grid, target.unit(choice.unit), choice.tile
    part = workload.sliced(choice.k_splits)
    blocks = part.batch * math.ceil(part.rows / rows) * math.ceil(part.columns / columns)
    resident = max(
        1,
        min(
            grid.threads // work.threads,
            grid.registers // (work.threads * work.registers),
            grid.most_shared_bytes // shared_bytes(choice, unit),
        ),
    )
    copied = (rows + columns) * choice.steps * dtype_bits(unit.lhs) / 8
    slabs = slabs_of(part, choice)
    together = min(resident, math.ceil(blocks / grid.multiprocessors))
    busy = math.ceil(blocks / grid.multiprocessors) * slabs * work.slab(together)
    waves = math.ceil(blocks / (grid.multiprocessors * resident))
    step = max(MEMORY_CYCLES / work.ahead, work.slab(1) + work.latency) + _SLAB_OVERHEAD
    alone = waves * (slabs * step + 2 * MEMORY_CYCLES)
    a, b, c = part.product_bytes
    moved = max(part.batch * (a + b + c), blocks * slabs * copied / _L2_SHARE) / grid.bytes_per_cycle
    cycles = max(busy, alone, moved) + _BESIDE * (busy + alone)
    if choice.k_splits == 1:
        return cycles
    after = _LAUNCH + part.batch * c / grid.bytes_per_cycle
    return cycles * _SLICED + after


def _rate(choice: TensorChoice, unit: DotUnit, warps: int) -> float:
    """Instructions in a cycle of so many warps: each has its part of the multiprocessor, and waits for its sums."""
    waiting = warps * choice.pieces * choice.panels / unit.costs.latency
    return min(unit.costs.rate * min(1.0, warps / _PARTS), waiting)

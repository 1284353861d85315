"""Contractions by grids whose warps multiply in groups of four, by instructions that read shared memory themselves.

It computes what `tensor_cores.py` computes, of the same slabs and the same packed B. Rows and columns of a tile lie in
shared memory as they are, and sums belong to the threads that the instruction gives them to:

    block (batch, rows of the tile, panel of columns), group (rows, columns)
        thread of the group: local C[pieces of 64 rows, panels of 8 columns], two rows and two columns of each
        for k, in slabs of 128 bytes                        a pipeline of `stages` slabs (`copies_ahead.py`)
            shared A[tile rows, slab], B[panel, slab]       as tiles that one thread asks for, or by all threads
            pieces: one instruction each                    marked for `compiler/lowering/select_dots.py`
        epilogue(C) -> output

Products of a slab are on the way while the next one is waited for, so one place more is taken than are copied ahead.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from ...targets.grid import MOST_AHEAD, TILE_LINE_BYTES
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import dtype_bits
from .contraction import Workload
from .tensor_cores import (
    LANES,
    ONE_BY_ONE,
    OWN,
    SHARED_BYTES,
    SPARE_REGISTERS,
    TensorChoice,
    Work,
    copies_whole,
    cycles_of,
    in_slices,
    shared_bytes,
    units_of,
)

TEMPLATE = "warp_groups"
WARPS = 4  # of a group
LATE = 1  # slabs whose products may be on the way when those of the next begin
ROWS = WARPS * LANES[0] * OWN[0]  # of an instruction
_PIECES, _PANELS, _GROUPS = (1, 2), (2, 4, 8, 16, 32), ((1, 1), (2, 1), (1, 2))
_MOST_PIECES = 32  # of 8 columns, of a group in all
_STAGES = tuple(range(2 + LATE, MOST_AHEAD + 2 + LATE))
_FEWEST_COLUMNS = 16
_BARRIERS_BYTES = 2 * 1024  # and what alignment takes
_LATENCY = 60.0  # cycles until the last products of a slab are there, beyond those of multiplying


@dataclass(frozen=True)
class GroupChoice(TensorChoice):
    """The same of groups: `pieces` of 64 rows, `panels` of 8 columns that one instruction takes, `warps` are groups."""

    template: ClassVar[str] = TEMPLATE

    @property
    def tile(self) -> tuple[int, int]:
        """Rows and columns of a block."""
        rows, columns = super().tile
        return rows * WARPS, columns


def takes(workload: object, target: Target) -> bool:
    """Contractions of operands that groups multiply, of several columns."""
    if not isinstance(workload, Workload) or workload.columns < _FEWEST_COLUMNS:
        return False
    return bool(units_of(workload, target, ROWS))


def space(workload: Workload, target: Target) -> Iterator[GroupChoice]:
    """All tiles that fit registers and shared memory, none twice as large as it need be; slices of k."""
    most = [max(fewest, 1 << (extent - 1).bit_length()) for fewest, extent in _extents(workload)]
    for unit in units_of(workload, target, ROWS):
        for choice in _tiles(unit):
            rows, columns = choice.tile
            room = target.the_grid.most_shared_bytes - _BARRIERS_BYTES
            if rows <= most[0] and columns <= most[1] and shared_bytes(choice, unit) <= room:
                yield choice
                yield from in_slices(workload, choice, unit)


def _extents(workload: Workload) -> tuple[tuple[int, int], ...]:
    return (ROWS, workload.rows), (_FEWEST_COLUMNS, workload.columns)


def _tiles(unit: DotUnit) -> Iterator[GroupChoice]:
    steps = TILE_LINE_BYTES * 8 // dtype_bits(unit.lhs)
    for pieces in _PIECES:
        for panels in _PANELS:
            for groups in _GROUPS:
                for stages in _STAGES:
                    if pieces * panels <= _MOST_PIECES:
                        yield GroupChoice(unit.name, pieces, panels, groups, steps, stages)


def default(workload: Workload, target: Target) -> GroupChoice:
    """The fewest estimated cycles."""
    return min(space(workload, target), key=lambda choice: estimate(workload, choice, target))


def estimate(workload: Workload, choice: GroupChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    unit, (rows, columns) = target.unit(choice.unit), choice.tile
    groups = math.prod(choice.warps)
    # Of a slab: instructions of 8 columns, bytes that are copied, bytes that instructions read.
    instructions = groups * choice.pieces * choice.panels
    copied = (rows + columns) * TILE_LINE_BYTES
    read = groups * choice.pieces * (ROWS + choice.panels * LANES[0]) * TILE_LINE_BYTES
    copies = copied if copies_whole(workload.sliced(choice.k_splits), unit, target) else copied * ONE_BY_ONE
    slab = max(instructions / unit.costs.rate, (read + copies) / SHARED_BYTES)
    registers = math.prod(choice.own) + SPARE_REGISTERS
    threads = groups * WARPS * target.the_grid.warp
    return cycles_of(
        workload, choice, target, Work(threads, registers, lambda _: slab, choice.stages - 1 - LATE, _LATENCY)
    )

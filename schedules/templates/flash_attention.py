"""Attention by grids, in one kernel: scores stay in registers, as do the sums of values they are multiplied with.

It computes what `attention.py` computes, a tile of keys after the other (Dao et al., FlashAttention-2, 2023):

    block (head, rows of queries), warp (rows), lane (8 below, 4 beside each other)
        local most[own rows] = -inf, total = 0, sums[own rows, own columns] = 0
        for keys, in tiles                                  a pipeline of `stages` tiles (`copies_ahead.py`)
            shared Q[tile rows, depth]                      once; K[keys, depth], V[keys, columns]
            scores[own rows, own keys] = Q K^T              instructions of `unit`, or multiply-adds of each thread
            scores = scores * scale + masks                 -inf behind the last key
            most = larger of it and the scores of a row     of four lanes, by shuffles
            sums, total *= 2^(before - most)
            scores = 2^(scores - most), total += scores
            sums += scores V                                the scores of other lanes by shuffles, or by the instruction
        result = sums / total

The four lanes beside each other have the keys of a tile by quarters, and every fourth pair of columns of the sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from ...targets.grid import MOST_AHEAD
from ...targets.target import DotUnit, Target
from ..tensorir.expressions import dtype_bits
from .attention import Heads
from .choices import Choice
from .grid import MEMORY_CYCLES
from .template import fewest_cycles
from .tensor_cores import LANES, OWN, RUN_BYTES

TEMPLATE = "flash_attention"
DEEPEST = 256  # heads whose sums fit the registers
PANEL = LANES[1] * OWN[1]  # keys of a panel, and columns of values
_STEP_BYTES = 16  # that rows in shared memory are multiples of, where no instruction asks for more
_PIECES, _PANELS, _WARPS = (1, 2), (1, 2, 4, 8), (1, 2, 4, 8)
_STAGES = tuple(range(2, MOST_AHEAD + 1))
# What nvcc was seen to find registers for, with masks: those of a thread as counted below, with so many for operands
# where it multiplies by itself; runs of a tile that it copies, each of which has an address; registers with those runs,
# where it holds them for a while, of one piece then; panels of keys where values have more columns than that.
_MOST_REGISTERS, _OPERANDS, _MOST_COPIES, _MOST_HELD = 172, 36, 32, 196
_MANY_COLUMNS, _FEW_PANELS = 160, 2
# Parts of a multiprocessor, each of which works for warps of its own; how much faster L2 is than memory.
_PARTS, _L2_SHARE = 4, 2.5
# Instructions of a thread for a score, beside its products; cycles of what waits for each other in a tile: the last
# sum, shuffles, powers, the barrier; registers of a thread beside scores and sums.
_SCORE_INSTRUCTIONS, _TILE_OVERHEAD, _SPARE_REGISTERS = 8, 250, 60
_REGISTER_BYTES = 4
_BESIDE = 0.02  # of what is not what takes longest


@dataclass(frozen=True)
class FlashChoice(Choice):
    """Which tiles of queries and keys meet.

    Attributes:
        unit: the name of what multiplies; empty: each thread.
        pieces: of 16 queries of a warp.
        panels: of 8 keys in a tile.
        warps: of a block, below each other.
        stages: tiles of keys in shared memory at a time.
    """

    unit: str
    pieces: int
    panels: int
    warps: int
    stages: int

    @property
    def own(self) -> tuple[int, int]:
        """Queries and keys of a thread."""
        return self.pieces * OWN[0], self.panels * OWN[1]

    @property
    def tile(self) -> tuple[int, int]:
        """Queries of a block, keys of a tile."""
        return self.own[0] * LANES[0] * self.warps, self.own[1] * LANES[1]


@dataclass(frozen=True)
class Extents:
    """What a choice makes of the sizes.

    Attributes:
        dtype: of what is multiplied.
        term: elements of the depth, and keys, that are multiplied at a time.
        depth, columns: as long as rows in shared memory are.
    """

    dtype: str
    term: int
    depth: int
    columns: int


def unit_of(choice: FlashChoice, target: Target) -> DotUnit | None:
    """The unit of a choice."""
    return target.unit(choice.unit) if choice.unit else None


def extents_of(workload: Heads, unit: DotUnit | None) -> Extents:
    """The extents for what multiplies."""
    dtype = workload.dtype if unit is None else unit.lhs
    term = _STEP_BYTES * 8 // dtype_bits(dtype) if unit is None else unit.depth
    depth, columns = (math.ceil(each / of) * of for each, of in ((workload.depth, term), (workload.value_depth, PANEL)))
    return Extents(dtype, term, depth, columns)


def _units(workload: Heads, target: Target) -> tuple[DotUnit | None, ...]:
    """What multiplies: units, or else each thread in float32."""
    units = target.units_for(workload.dtype, workload.dtype, workload.scores.accumulator)
    found = tuple(unit for unit in units if unit.rows == LANES[0] * OWN[0])
    return found or ((None,) if workload.dtype == workload.scores.accumulator else ())


def takes(workload: object, target: Target) -> bool:
    """Attention of heads that are not too deep, in float32 or in what a unit multiplies; no integers."""
    if not isinstance(workload, Heads) or workload.integers is not None:
        return False
    if max(workload.depth, workload.value_depth) > DEEPEST:
        return False
    return any(True for _ in space(workload, target))


def shared_bytes(workload: Heads, choice: FlashChoice, target: Target) -> int:
    """What a block shares."""
    extents, (queries, keys) = extents_of(workload, unit_of(choice, target)), choice.tile
    tiles = min(choice.stages, math.ceil(workload.keys / keys))
    elements = queries * extents.depth + tiles * keys * (extents.depth + extents.columns)
    return elements * dtype_bits(extents.dtype) // 8


def space(workload: Heads, target: Target) -> Iterator[FlashChoice]:
    """All tiles that fit registers and shared memory, none twice as large as it need be."""
    grid = target.the_grid
    queries, keys = (1 << (extent - 1).bit_length() for extent in (workload.queries, workload.keys))
    for unit in _units(workload, target):
        fewest = max(1, extents_of(workload, unit).term // PANEL) if unit is not None else 1
        for choice in _tiles("" if unit is None else unit.name, fewest):
            rows, columns = choice.tile
            if choice.panels % fewest or not _fits_registers(workload, choice, target):
                continue
            if rows > max(queries, LANES[0] * OWN[0]) or columns > max(keys, fewest * PANEL):
                continue
            if choice.stages > _STAGES[0] and not grid.has_async_copies:
                continue
            if shared_bytes(workload, choice, target) <= grid.most_shared_bytes:
                yield choice


def _tiles(unit: str, fewest: int) -> Iterator[FlashChoice]:
    for pieces in _PIECES:
        for panels in (each for each in _PANELS if each >= fewest):
            for warps in _WARPS:
                for stages in _STAGES:
                    yield FlashChoice(unit, pieces, panels, warps, stages)


def _fits_registers(workload: Heads, choice: FlashChoice, target: Target) -> bool:
    """Whether all that a thread has at a time does: scores, sums, operands with their addresses, masks of a row."""
    unit, grid = unit_of(choice, target), target.the_grid
    extents, (_, keys) = extents_of(workload, unit), choice.tile
    operands = _OPERANDS
    if unit is not None:
        operands = 4 * choice.pieces + 2 * choice.panels + extents.depth // extents.term
    copied = keys * (extents.depth + extents.columns) * dtype_bits(extents.dtype) // 8
    runs = math.ceil(copied / RUN_BYTES / (choice.warps * grid.warp))
    if extents.columns > _MANY_COLUMNS and choice.panels > _FEW_PANELS:
        return False
    registers = sum_registers(workload, choice, unit) + operands + choice.own[1]
    if grid.has_async_copies:
        return registers <= _MOST_REGISTERS and runs <= _MOST_COPIES
    return choice.pieces == 1 and registers + runs * RUN_BYTES // _REGISTER_BYTES <= _MOST_HELD


def sum_registers(workload: Heads, choice: FlashChoice, unit: DotUnit | None) -> int:
    """Scores and sums of a thread."""
    own_rows, own_keys = choice.own
    return own_rows * (own_keys + extents_of(workload, unit).columns // LANES[1])


def estimate(workload: Heads, choice: FlashChoice, target: Target) -> float:
    """Estimated cycles until the last block is done."""
    grid, unit, (rows, keys) = target.the_grid, unit_of(choice, target), choice.tile
    extents = extents_of(workload, unit)
    size = dtype_bits(extents.dtype) / 8
    blocks = workload.heads * math.ceil(workload.queries / rows)
    tiles = math.ceil(workload.keys / keys)
    registers = choice.warps * grid.warp * (sum_registers(workload, choice, unit) + _SPARE_REGISTERS)
    resident = max(
        1,
        min(
            grid.threads // (choice.warps * grid.warp),
            grid.registers // registers,
            grid.most_shared_bytes // shared_bytes(workload, choice, target),
        ),
    )
    own_rows, own_keys = choice.own
    products = own_rows * own_keys * extents.depth + own_rows * extents.columns // LANES[1] * keys  # of a thread
    others = own_rows * (own_keys * _SCORE_INSTRUCTIONS + extents.columns // LANES[1])
    issued = grid.fmas_per_cycle / grid.warp  # instructions of warps, in a cycle

    def tile(warps: int) -> float:
        """Cycles of a multiprocessor for a tile of so many warps."""
        used = min(1.0, warps / _PARTS)
        if unit is None:
            return warps * (products + others) / (issued * used)
        multiplied = warps * products * grid.warp / (unit.rows * unit.lanes * unit.depth)
        return max(multiplied / (unit.costs.rate * used), warps * others / (issued * used))

    together = min(resident, math.ceil(blocks / grid.multiprocessors))
    busy = math.ceil(blocks / grid.multiprocessors) * tiles * tile(together * choice.warps) / together
    step = max(MEMORY_CYCLES / (choice.stages - 1), tile(choice.warps) + _TILE_OVERHEAD)
    waves = math.ceil(blocks / (grid.multiprocessors * resident))
    alone = waves * (tiles * step + 2 * MEMORY_CYCLES)
    copied = blocks * (rows * workload.depth + tiles * keys * (workload.depth + workload.value_depth)) * size
    moved = (copied / _L2_SHARE + blocks * rows * workload.value_depth * size) / grid.bytes_per_cycle
    return max(busy, alone, moved) + _BESIDE * (busy + alone)


default = fewest_cycles(space, estimate)


def run_of(depth: int, dtype: str) -> int:
    """Elements that are copied at once: a power of two, a divisor of a row."""
    return min(RUN_BYTES * 8 // dtype_bits(dtype), depth & -depth)

"""The units for products of 8-bit integers that Cortex-M processors have: a row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import UnitCosts
from ..target import DotUnit

if TYPE_CHECKING:
    from ..instructions import Instructions


def _pairs_in_words() -> Instructions:
    from .dsp import PairsInWords

    return PairsInWords()


def _vectors_in_sums() -> Instructions:
    from .helium import VectorsInSums

    return VectorsInSums(stays_in_loop=True)


# Of the general registers those that a loop needs beside sums and what stays of operands: two pointers, its end, and
# both groups of a column or row.
_OF_LOOP = 5


def _registers_of_pairs(rows: int, registers: int, vectors: int) -> int:
    """Sums, and both groups of as many rows or columns as there are fewer of."""
    return rows * registers * vectors + 2 * min(rows * registers, vectors) + _OF_LOOP


# Two SMLAD a row and column for four terms, two loads a row, a load and two extensions a column.
DSP = DotUnit(
    name="DSP",
    lhs="uint8",
    rhs="int8",
    accumulator="int32",
    group=2,
    rows=4,
    lanes=1,
    depth=4,
    registers=13,
    required_features=(),
    costs=UnitCosts(rate=1 / 8, latency=1.0, loads_per_cycle=0.8, step_overhead=2.0, tile_overhead=8.0),
    instructions=_pairs_in_words,
    peak=None,
    registers_used=_registers_of_pairs,
    copied_as="int16",
    interleaved=True,
)


def _steps_of_tiles() -> Instructions:
    from .thumb import StepsOfTiles

    return StepsOfTiles(stays_in_loop=True)


_SUMS = 4  # in the registers that take sums alone; weights of a step are at most 31 bytes from the first


def _registers_of_sums(rows: int, registers: int, vectors: int) -> int:
    """Those of sums; more than there are for tiles that a step has no registers for."""
    return rows * registers * vectors if rows * registers <= 2 else _SUMS + 1


# Of sixteen terms with two weights for two rows: 240 instructions. Beside them addresses, which are in no register.
THUMB = DotUnit(
    name="THUMB-INT8",
    lhs="uint8",
    rhs="int8",
    accumulator="int32",
    group=1,
    rows=2,
    lanes=1,
    depth=16,
    registers=_SUMS,
    required_features=(),
    costs=UnitCosts(rate=1 / 120, latency=1.0, loads_per_cycle=8.0, step_overhead=20.0, tile_overhead=12.0),
    instructions=_steps_of_tiles,
    peak=None,
    registers_used=_registers_of_sums,
    interleaved=True,
)


_COLUMNS = 4  # as many as a vector of sums has lanes, which are brought into one behind the loop


def _registers_of_vectors(rows: int, registers: int, vectors: int) -> int:
    """Sums, a pointer for each row, one for columns, and the count of a loop."""
    return rows * registers * (_COLUMNS * vectors + 1) + 2


# A load a row and column, and a VMLADAVA for both, for sixteen terms.
HELIUM = DotUnit(
    name="HELIUM-INT8",
    lhs="int8",
    rhs="int8",
    accumulator="int32",
    group=1,
    rows=1,
    lanes=_COLUMNS,
    depth=16,
    registers=12,
    required_features=(),
    costs=UnitCosts(rate=1 / _COLUMNS, latency=1.0, loads_per_cycle=1.0, step_overhead=7.0, tile_overhead=25.0),
    instructions=_vectors_in_sums,
    peak=None,
    registers_used=_registers_of_vectors,
    interleaved=True,
    masked=True,
)

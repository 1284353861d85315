"""Which unit multiplies the operands of a contraction, in what tiles: the choice of the dot-product template."""

from __future__ import annotations

from dataclasses import dataclass

from ...targets.target import DotUnit
from .cutting import CutChoice


@dataclass(frozen=True)
class DotProductChoice(CutChoice):
    """Which unit multiplies, in what tiles, and how they are cut into tasks.

    Attributes:
        unit: its name.
        k: extents of k, those of the workload or one of its `runs`.
        rows: of the first operand that an instruction takes.
        row_registers, vectors: instructions below and beside each other in a tile.
    """

    unit: str
    k: tuple[int, ...]
    rows: int
    row_registers: int
    vectors: int

    @property
    def tile_rows(self) -> int:
        """Rows of a tile of sums."""
        return self.rows * self.row_registers


def depth_of(run: int, unit: DotUnit) -> int:
    """Elements of a run that one instruction takes: a divisor of `run`, whole groups."""
    return max(size for size in range(unit.group, min(run, unit.depth) + 1, unit.group) if run % size == 0)


def tile_columns(choice: DotProductChoice, unit: DotUnit) -> int:
    """Columns of a register tile."""
    return choice.vectors * unit.lanes

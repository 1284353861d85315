"""RISC-V's unit for products of 8-bit integers: those of the vector extension that are twice as wide as their operands.

A row's element is extended in a scalar register, which the instruction takes (VWMACC.VX); weights are extended to 16
bits as they are loaded. Sums of 32 bits take two registers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..core import UnitCosts
from ..peak import PeakLoop, chains
from ..target import DotUnit

if TYPE_CHECKING:
    from ..instructions import Instructions

_REGISTERS, _SUM_REGISTERS = 32, 2
_EARLY_LOADS = 2


def _widened(lanes: int) -> Instructions:
    from .widening import widened

    return widened(lanes)


def _registers_used(rows: int, registers: int, vectors: int) -> int:
    """Two registers of sums a vector, one of weights, and a few that are loaded early."""
    return _SUM_REGISTERS * registers * vectors + vectors + _EARLY_LOADS


def _peak(bits: int) -> PeakLoop:
    return chains('__asm__("vwmacc.vx %0, a0, %1" : "+vr"(a{i}) : "vr"(x));', _REGISTERS, 2 * bits // 16)


def _unit(bits: int) -> DotUnit:
    """For vectors of so many bits."""
    lanes = _SUM_REGISTERS * bits // 32
    return DotUnit(
        name=f"RVV-INT8-{bits}",
        lhs="uint8",
        rhs="int8",
        accumulator="int32",
        group=1,
        rows=1,
        lanes=lanes,
        depth=1,
        registers=_REGISTERS,
        required_features=("v",),
        costs=UnitCosts(rate=0.5, latency=5.0, loads_per_cycle=0.5, step_overhead=2.0, tile_overhead=4.0),
        instructions=partial(_widened, lanes),
        peak=partial(_peak, bits),
        registers_used=_registers_used,
        sum_registers=_SUM_REGISTERS,
    )


UNITS = tuple(_unit(bits) for bits in (512, 256, 128))

"""NEON's units for narrow operands: a row each, and what they cost on Arm's and Apple's cores.

Numbers of instructions: Arm's Software Optimization Guides; of Apple's, what is published of measurements. A step is
as many terms as a load of 16 bytes of the first operand brings, so a row's `rate` counts steps, not instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..core import UnitCosts
from ..peak import PeakLoop, chains
from ..target import DotUnit

if TYPE_CHECKING:
    from ..instructions import Instructions

_LANES, _REGISTERS, _REGISTERS_32 = 4, 32, 14
_EARLY_LOADS = 2


def _dots(name: str) -> Instructions:
    from . import lane_dots

    made: Instructions = getattr(lane_dots, name)()
    return made


def _matrices(name: str) -> Instructions:
    from . import matrix_dots

    made: Instructions = getattr(matrix_dots, name)()
    return made


def _widened(product: str, *, in_order: bool = False) -> Instructions:
    from .lane_dots import widened

    return widened(product, in_order=in_order)


def _peak(instruction: str, flops: int, registers: int = _REGISTERS) -> PeakLoop:
    return chains(f'__asm__("{instruction}" : "+w"(a{{i}}) : "w"(x), "w"(y));', registers, flops)


def _by_lane(rows: int, registers: int, vectors: int) -> int:
    """What was loaded of each row stays in a register; vectors of the second operand come one after the other."""
    return registers * vectors + vectors + registers + _EARLY_LOADS


def _repeated(rows: int, registers: int, vectors: int) -> int:
    """By lane as well, but LLVM repeats a lane of bfloat16 in a register of its own, for one row after the other."""
    return _by_lane(rows, registers, vectors) + registers


def _zipped(rows: int, registers: int, vectors: int) -> int:
    """Two registers of sums a tile, two for each pair of rows, and a vector of columns each, which LLVM loads early."""
    return 2 * (registers * vectors + registers + _EARLY_LOADS) + vectors


def _in_halves(rows: int, registers: int, vectors: int) -> int:
    """Two registers of sums a vector of eight columns, and one for what is made wider of each operand."""
    return 2 * registers * vectors + vectors + registers + _EARLY_LOADS


# Cortex-A76 and its like start two of each a cycle, four in a step.
_DOT_COSTS = UnitCosts(rate=0.5, latency=4.0, loads_per_cycle=2.0, step_overhead=0.5, tile_overhead=2.0)
_MATRIX_COSTS = replace(_DOT_COSTS, loads_per_cycle=1.5, tile_overhead=4.0)
# One a cycle, sixteen in a step; operands are made wider in the same pipeline.
_WIDENED_COSTS = UnitCosts(rate=1 / 16, latency=4.0, loads_per_cycle=1.0, step_overhead=0.5, tile_overhead=4.0)


def _unit(
    name: str, operands: tuple[str, str], feature: str, made: Callable[[], Instructions], peak: Callable[[], PeakLoop]
) -> DotUnit:
    """A row of vectors that take a group of 32 bits by its lane."""
    lhs, rhs = operands
    bits = 8 if "int" in lhs else 16
    return DotUnit(
        name=name,
        lhs=lhs,
        rhs=rhs,
        accumulator="int32" if bits == 8 else "float32",
        group=32 // bits,
        rows=1,
        lanes=_LANES,
        depth=128 // bits,
        registers=_REGISTERS,
        required_features=(feature,),
        costs=_DOT_COSTS,
        instructions=made,
        peak=peak,
        registers_used=_by_lane if bits == 8 else _repeated,
    )


def _matrix(dot: DotUnit, name: str, made: Callable[[], Instructions], peak: Callable[[], PeakLoop]) -> DotUnit:
    """A row of matrices of two rows, with the operands of vectors."""
    return replace(
        dot,
        name=name,
        group=2 * dot.group,
        rows=2,
        least_rows=2,
        costs=_MATRIX_COSTS,
        instructions=made,
        peak=peak,
        registers_used=_zipped,
    )


def _widening(product: str, registers: int, peak: Callable[[], PeakLoop]) -> DotUnit:
    """A row of products of operands that are made int16: exact, on every core with NEON."""
    return DotUnit(
        name="NEON-INT8",
        lhs="uint8",
        rhs="int8",
        accumulator="int32",
        group=1,
        rows=1,
        lanes=2 * _LANES,
        depth=8,
        registers=registers,
        required_features=(),
        costs=_WIDENED_COSTS,
        instructions=partial(_widened, product),
        peak=peak,
        registers_used=_in_halves,
        sum_registers=2,
    )


_MIXED, _SIGNED, _BFLOAT16 = ("uint8", "int8"), ("int8", "int8"), ("bfloat16", "bfloat16")
_USDOT = _unit(
    "NEON-USDOT", _MIXED, "i8mm", partial(_dots, "mixed_quads"), partial(_peak, "usdot %0.4s, %1.16b, %2.16b", 32)
)
_SDOT = _unit(
    "NEON-SDOT", _SIGNED, "dotprod", partial(_dots, "signed_quads"), partial(_peak, "sdot %0.4s, %1.16b, %2.16b", 32)
)
_BFDOT = _unit(
    "NEON-BFDOT", _BFLOAT16, "bf16", partial(_dots, "bfloat16_pairs"), partial(_peak, "bfdot %0.4s, %1.8h, %2.8h", 16)
)
# The fastest first: what the first of integers takes is what activations are.
UNITS = (
    _matrix(
        _BFDOT,
        "NEON-BFMMLA",
        partial(_matrices, "bfloat16_quads"),
        partial(_peak, "bfmmla %0.4s, %1.8h, %2.8h", 32),
    ),
    _BFDOT,
    _matrix(
        _USDOT,
        "NEON-USMMLA",
        partial(_matrices, "mixed_octets"),
        partial(_peak, "usmmla %0.4s, %1.16b, %2.16b", 64),
    ),
    _USDOT,
    _SDOT,
    _widening("llvm.aarch64.neon.smull.v4i32", _REGISTERS, partial(_peak, "smlal %0.4s, %1.4h, %2.4h", 8)),
)
UNITS_32 = (
    replace(
        _widening(
            "llvm.arm.neon.vmulls.v4i32", _REGISTERS_32, partial(_peak, "vmlal.s16 %q0, %P1, %P2", 8, _REGISTERS_32)
        ),
        instructions=partial(_widened, "llvm.arm.neon.vmulls.v4i32", in_order=True),
    ),
)

# In order, one a cycle, and a load of 16 bytes in two.
_IN_ORDER = ("cortex-a55", "cortex-a510", "cortex-a520", "cortex-a53", "cortex-a35", "cortex-a34")
# Four vector pipelines.
_WIDE = (
    *("neoverse-v1", "neoverse-v2", "neoverse-n2", "grace", "cortex-x1", "cortex-x2", "cortex-x3", "cortex-x4"),
    *("apple-a14", "apple-a15", "apple-a16", "apple-a17", "apple-m4"),
)
UNIT_COSTS = {
    **{
        (unit.name, cpu): replace(
            unit.costs,
            rate=unit.costs.rate if unit.sum_registers > 1 else unit.costs.rate / 2,
            loads_per_cycle=0.5,
            step_overhead=1.0,
            tile_overhead=4.0,
        )
        for unit in UNITS
        for cpu in _IN_ORDER
    },
    **{
        (unit.name, cpu): replace(
            unit.costs, rate=2 * unit.costs.rate, loads_per_cycle=1.5 * unit.costs.loads_per_cycle
        )
        for unit in UNITS
        for cpu in _WIDE
    },
}

"""The tensor cores of NVIDIA's GPUs, as units for narrow operands: a row for each dtype that a warp multiplies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING

from ..core import UnitCosts
from ..peak import PeakLoop
from ..target import DotUnit
from .peak import products

if TYPE_CHECKING:
    from ..instructions import Instructions
    from .warp_products import WarpProducts

ROWS, COLUMNS, STEP_BYTES = 16, 8, 32  # of an instruction; terms are as many as these bytes have elements
# Of four warps that multiply together, and of what they do with a line of shared memory; of a multiprocessor's 2048
# multiply-adds of 16 bits a cycle what it keeps up without getting too warm.
GROUP_ROWS, GROUP_STEP_BYTES = 64, 128
_GROUP_PER_CYCLE = 0.9 / 16
_FLOAT16, _BFLOAT16, _TF32, _INT8 = "mma fp16", "mma bf16", "mma tf32", "mma int8"


def _float16() -> WarpProducts:
    from .warp_products import FLOAT16

    return FLOAT16


def _bfloat16() -> WarpProducts:
    from .warp_products import BFLOAT16

    return BFLOAT16


def _tf32() -> WarpProducts:
    from .warp_products import TF32

    return TF32


def _int8() -> WarpProducts:
    from .warp_products import INT8

    return INT8


def _group_float16() -> Instructions:
    from .warp_group_products import FLOAT16

    return FLOAT16


def _group_bfloat16() -> Instructions:
    from .warp_group_products import BFLOAT16

    return BFLOAT16


def _group_int8() -> Instructions:
    from .warp_group_products import INT8

    return INT8


@dataclass(frozen=True)
class _Row:
    """A unit.

    Attributes:
        dtype, element_bytes: of both operands.
        accumulator: the dtype of sums.
        instructions: what makes them.
        of_warp: those of one warp, whose peak is measured by them; None where four multiply together.
    """

    dtype: str
    element_bytes: int
    accumulator: str
    instructions: Callable[[], Instructions]
    of_warp: Callable[[], WarpProducts] | None = None


def _of_warp(dtype: str, element_bytes: int, accumulator: str, made: Callable[[], WarpProducts]) -> _Row:
    return _Row(dtype, element_bytes, accumulator, made, made)


_UNITS = {
    _FLOAT16: _of_warp("float16", 2, "float32", _float16),
    _BFLOAT16: _of_warp("bfloat16", 2, "float32", _bfloat16),
    _TF32: _of_warp("float32", 4, "float32", _tf32),
    _INT8: _of_warp("int8", 1, "int32", _int8),
    "wgmma fp16": _Row("float16", 2, "float32", _group_float16),
    "wgmma bf16": _Row("bfloat16", 2, "float32", _group_bfloat16),
    "wgmma int8": _Row("int8", 1, "int32", _group_int8),
}


def units_of(names: tuple[str, ...], per_cycle: float, *, rounding: bool) -> tuple[DotUnit, ...]:
    """The units among what a multiprocessor has.

    Args:
        names: what it has.
        per_cycle: instructions of a warp that it starts in a cycle.
        rounding: whether those are meant that round operands of float32, or all others.
    """
    return tuple(_unit(name, per_cycle) for name in names if name in _UNITS and (name == _TF32) == rounding)


def _unit(name: str, per_cycle: float) -> DotUnit:
    row = _UNITS[name]
    alone = row.of_warp is not None
    step_bytes, rate = (STEP_BYTES, per_cycle) if alone else (GROUP_STEP_BYTES, _GROUP_PER_CYCLE)
    return DotUnit(
        name=name,
        lhs=row.dtype,
        rhs=row.dtype,
        accumulator=row.accumulator,
        group=1,
        rows=ROWS if alone else GROUP_ROWS,
        lanes=COLUMNS,
        depth=step_bytes // row.element_bytes,
        registers=255,
        required_features=(),
        costs=UnitCosts(rate=rate, latency=33.0, loads_per_cycle=4.0, step_overhead=0.0, tile_overhead=0.0),
        instructions=row.instructions,
        peak=_peak_of(name) if alone else None,
        is_matrix=True,
    )


@cache
def _peak_of(name: str) -> Callable[[], PeakLoop]:
    """The same for equal units, which are compared."""
    return partial(_peak, name)


def _peak(name: str) -> PeakLoop:
    row = _UNITS[name]
    assert row.of_warp is not None
    instructions = row.of_warp()
    kind = {"float32": "float", "int32": "int32_t"}[row.accumulator]
    flops = 2 * ROWS * COLUMNS * STEP_BYTES // row.element_bytes
    return products(instructions.function, instructions.text, kind, flops)

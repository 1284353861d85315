"""The tensor cores of NVIDIA's GPUs, as units for narrow operands: a row for each dtype that a warp multiplies."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..core import UnitCosts
from ..peak import PeakLoop
from ..target import DotUnit
from .peak import products

if TYPE_CHECKING:
    from .warp_products import WarpProducts

ROWS, COLUMNS, STEP_BYTES = 16, 8, 32  # of an instruction; terms are as many as these bytes have elements
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


# By their names: the dtype of both operands and its bytes, that of sums, and what makes the instructions.
_UNITS = {
    _FLOAT16: ("float16", 2, "float32", _float16),
    _BFLOAT16: ("bfloat16", 2, "float32", _bfloat16),
    _TF32: ("float32", 4, "float32", _tf32),
    _INT8: ("int8", 1, "int32", _int8),
}


def units_of(names: tuple[str, ...], per_cycle: float, *, rounding: bool) -> tuple[DotUnit, ...]:
    """The units among what a multiprocessor has.

    Args:
        names: what it has.
        per_cycle: instructions of any of them that it starts in a cycle.
        rounding: whether those are meant that round operands of float32, or all others.
    """
    return tuple(_unit(name, per_cycle) for name in names if name in _UNITS and (name == _TF32) == rounding)


def _unit(name: str, per_cycle: float) -> DotUnit:
    dtype, size, accumulator, instructions = _UNITS[name]
    return DotUnit(
        name=name,
        lhs=dtype,
        rhs=dtype,
        accumulator=accumulator,
        group=1,
        rows=ROWS,
        lanes=COLUMNS,
        depth=STEP_BYTES // size,
        registers=255,
        required_features=(),
        costs=UnitCosts(rate=per_cycle, latency=33.0, loads_per_cycle=4.0, step_overhead=0.0, tile_overhead=0.0),
        instructions=instructions,
        peak=_PEAKS[name],
        is_matrix=True,
    )


def _peak(name: str) -> PeakLoop:
    _, size, accumulator, make = _UNITS[name]
    instructions = make()
    kind = {"float32": "float", "int32": "int32_t"}[accumulator]
    return products(instructions.function, instructions.text, kind, 2 * ROWS * COLUMNS * STEP_BYTES // size)


_PEAKS = {name: partial(_peak, name) for name in _UNITS}

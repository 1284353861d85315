"""Sums of units that keep them in vectors side by side, whichever architecture they are of."""

from __future__ import annotations

from collections.abc import Mapping

from tvm import tirx

from ..ir_types import Stmt
from .instructions import Operand


def zero_vectors(sums: Operand, extents: Mapping[str, int], lanes: int, dtype: str) -> tuple[Stmt, ...]:
    """Stores of zeros in all vectors of sums."""
    zero = tirx.Broadcast(tirx.const(0, dtype), lanes)
    return tuple(
        tirx.BufferStore(sums.buffer, zero, [tirx.Ramp(sums.at(register=register, vector=vector), 1, lanes)])
        for register in range(extents["register"])
        for vector in range(extents["vector"])
    )

"""Products of what instructions have left in registers, as scores of attention are multiplied with values.

Of 16 rows by 8 columns of sums, lane 4 g + q has columns 2 q and 2 q + 1 of rows g and g + 8. As a first operand it
needs terms 2 q, 2 q + 1, 2 q + 8 and 2 q + 9 of those rows where they have 16 bits, and q and q + 4 of 32 bits. Which
term of k is which of them is free, as long as it is for both operands: those that a lane needs are those that it has. A
step's ``group`` is the lane q, its ``term`` which one of that lane's.

The second operand has a row for each term: ldmatrix turns matrices of 16 bits, others are loaded one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tvm import tirx

from ...ir_types import Buffer, Scalar, Stmt
from ..instructions import Emitted, Operand
from .warp_registers import REGISTER, called, elements, loaded, packed, registers

HELD = "local"  # the scope of registers
_BESIDE = 4  # lanes that have the same rows


def held_products(
    function: str, rounds: str, dtype: str, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]
) -> Emitted:
    """Multiplies each piece of the first operand with each of the second, which is loaded by two pieces at a time.

    Args:
        function: that multiplies.
        rounds: what rounds what a register holds; empty: an operand has 16 bits.
        dtype: of operands.
    """
    pieces, panels = extents["register"], extents["vector"]
    left, right = registers("held", 4 * pieces), registers("turned", 4)
    step: list[Stmt] = [tirx.AllocBuffer(left), tirx.AllocBuffer(right)]
    for piece in range(pieces):
        step += _first(left, 4 * piece, lhs, piece, rounds, dtype)
    for panel in range(0, panels, 2):
        count = min(2, panels - panel)
        step += _turned_words(right, rhs, panel, count, rounds) if rounds else [_turned(right, rhs, panel, count)]
        for beside in range(count):
            for piece in range(pieces):
                results = [
                    tirx.BufferLoad(sums.buffer, [sums.at(register=piece, row=row, vector=panel + beside, lane=lane)])
                    for row in (0, 1)
                    for lane in (0, 1)
                ]
                operands = [*elements(left, 4 * piece, 4), *elements(right, 2 * beside, 2)]
                step.append(called(function, *results, *operands))
    return Emitted(tuple(step))


def _first(left: Buffer, first: int, lhs: Operand, piece: int, rounds: str, dtype: str) -> Iterator[Stmt]:
    """The registers of a piece of the first operand: both rows of the first terms, and of the others."""

    def own(row: int, term: int) -> Scalar:
        return tirx.BufferLoad(lhs.buffer, [lhs.at(register=piece, row=row, term=term)])

    for number in range(4):
        row, later = number % 2, number // 2
        (register,) = elements(left, first + number, 1)
        if rounds:
            yield tirx.BufferStore(left, tirx.reinterpret(REGISTER, own(row, later)), [first + number])
            yield called(rounds, register)
        else:
            yield packed(dtype, register, own(row, 2 * later), own(row, 2 * later + 1))


def _turned(right: Buffer, rhs: Operand, panel: int, count: int) -> Stmt:
    """Loads panels of 16 bits: rows of the first terms of all lanes, of the others, and both of the next panel."""
    lane = rhs.thread
    inside = lane % 8 // 2 * rhs.strides["group"] + (lane % 2 + lane // 8 % 2 * 2) * rhs.strides["term"]
    if count > 1:
        inside = inside + lane // 16 * (rhs.at(vector=panel + 1) - rhs.at(vector=panel))
    return loaded(right, 0, 2 * count, rhs.buffer, rhs.at(vector=panel) + inside, turned=True)


def _turned_words(right: Buffer, rhs: Operand, panel: int, count: int, rounds: str) -> Iterator[Stmt]:
    """Loads panels of 32 bits, of which a lane has one column and two terms."""
    lane = rhs.thread
    column = lane // _BESIDE
    apart = rhs.at(thread=1) - rhs.at()
    inside = lane % _BESIDE * rhs.strides["group"] + column // 2 * apart + column % 2 * rhs.strides["lane"]
    for number in range(2 * count):
        place = rhs.at(vector=panel + number // 2) + inside + number % 2 * rhs.strides["term"]
        yield tirx.BufferStore(right, tirx.reinterpret(REGISTER, tirx.BufferLoad(rhs.buffer, [place])), [number])
        yield called(rounds, *elements(right, number, 1))

"""NEON's products of narrow operands, as functions in LLVM IR: a load brings several groups of the first operand.

A function takes the sums, what was loaded of a row (integers of the size of a group), and a group of the second operand
a lane. The place of the group in the row is part of its name: instructions take it as a lane of a register. LLVM
inlines the functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from .. import rounding
from ..instructions import Emitted, Expr, Operand, Stmt
from ..vector_sums import zero_vectors

_REGISTER_BITS, _LANE_BITS = 128, 32


@dataclass(frozen=True)
class LaneDots:
    """What a step becomes: sums stay where the buffer of sums is, in vector registers.

    Attributes:
        name: of its functions, each ``NAME_PLACE_of_COUNT``.
        body: lines of IR that make ``%r`` of ``%sums``, of ``%left``, a vector of as many groups as were loaded, and of
            ``%right``, for the group at a place of how many; and declarations of what they call.
        lanes: sums of a step.
        group: products that are added to each.
        bits: of an element of an operand.
        accumulator: the dtype of sums.
    """

    name: str
    body: Callable[[int, int], tuple[str, ...]]
    declarations: tuple[str, ...]
    lanes: int
    group: int
    bits: int
    accumulator: str
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all vectors of sums to zero."""
        return zero_vectors(sums, extents, self.lanes, self.accumulator)

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Multiplies each group of each row with the same one of all vectors of the second operand."""
        count, step = extents["group"], []
        rows = [self._loaded(lhs, count, register=register) for register in range(extents["register"])]
        for group in range(count):
            for vector in range(extents["vector"]):
                right = self._loaded(rhs, self.lanes, vector=vector, group=group)
                for register, left in enumerate(rows):
                    row = tirx.Ramp(sums.at(register=register, vector=vector), 1, self.lanes)
                    value = tirx.call_pure_extern(
                        f"{self.accumulator}x{self.lanes}",
                        f"{self.name}_{group}_of_{count}",
                        tirx.BufferLoad(sums.buffer, [row]),
                        left,
                        right,
                    )
                    step.append(tirx.BufferStore(sums.buffer, value, [row]))
        return Emitted(tuple(step))

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32 to bfloat16; integers are not rounded."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of one of its functions, or of that one."""
        found = re.fullmatch(rf"{self.name}_(\d+)_of_(\d+)", function)
        if found is None:
            return rounding.text_of(function)
        place, count = map(int, found.groups())
        sums = f"<{self.lanes} x {'float' if 'float' in self.accumulator else 'i32'}>"
        integer = f"i{self.group * self.bits}"
        left = integer if count == 1 else f"<{count} x {integer}>"
        lines = (
            *(f"declare {each}" for each in self.declarations),
            f"define {sums} @{function}({sums} %sums, {left} %{'one' if count == 1 else 'left'}, "
            f"<{self.lanes} x {integer}> %right) {{",
            *([f"  %left = insertelement <1 x {integer}> poison, {integer} %one, i64 0"] if count == 1 else []),
            *(f"  {line}" for line in self.body(place, count)),
            f"  ret {sums} %r",
            "}",
        )
        return "\n".join([*lines, ""])

    def _loaded(self, operand: Operand, count: int, **at: int) -> Expr:
        """So many groups that lie side by side, as integers."""
        first, terms = operand.at(**at), count * self.group
        loaded = tirx.BufferLoad(operand.buffer, [tirx.Ramp(first, 1, terms) if terms > 1 else first])
        integer = f"int{self.group * self.bits}"
        return tirx.reinterpret(integer if count == 1 else f"{integer}x{count}", loaded)


def _splat(place: int, count: int) -> str:
    return f"<{count} x i32> <{', '.join([f'i32 {place}'] * count)}>"


def _quads(instruction: str, sums: str, operand: str, *, left_first: bool) -> Callable[[int, int], tuple[str, ...]]:
    """A group of 32 bits a lane."""

    def body(place: int, count: int) -> tuple[str, ...]:
        operands = [f"{operand} %a", f"{operand} %b"]
        return (
            f"%all = shufflevector <{count} x i32> %left, <{count} x i32> poison, {_splat(place, 4)}",
            f"%a = bitcast <4 x i32> %all to {operand}",
            f"%b = bitcast <4 x i32> %right to {operand}",
            f"%r = call {sums} @{instruction}({sums} %sums, {', '.join(operands if left_first else operands[::-1])})",
        )

    return body


def _dots(name: str, kind: str, *, bits: int, left_first: bool) -> LaneDots:
    accumulator, sums, operand = "int32", "<4 x i32>", "<16 x i8>"
    if bits > 8:
        accumulator, sums, operand = "float32", "<4 x float>", "<8 x bfloat>"
    instruction = f"llvm.aarch64.neon.{kind}"
    return LaneDots(
        name,
        _quads(instruction, sums, operand, left_first=left_first),
        (f"{sums} @{instruction}({sums}, {operand}, {operand})",),
        lanes=4,
        group=_LANE_BITS // bits,
        bits=bits,
        accumulator=accumulator,
    )


def signed_quads() -> LaneDots:
    """SDOT: four products of int8 a sum."""
    return _dots("tilewright_sdot", "sdot.v4i32.v16i8", bits=8, left_first=False)


def mixed_quads() -> LaneDots:
    """USDOT: four products of uint8 and int8 a sum; by a lane of the first it is called SUDOT."""
    return _dots("tilewright_usdot", "usdot.v4i32.v16i8", bits=8, left_first=True)


def bfloat16_pairs() -> LaneDots:
    """BFDOT: two products of bfloat16 a sum."""
    return _dots("tilewright_bfdot", "bfdot.v4f32.v8bf16", bits=16, left_first=False)


def widened(product: str) -> LaneDots:
    """SMLAL on operands that were made int16: a product of uint8 and int8 a sum, exact.

    Args:
        product: LLVM's name of the instruction that multiplies four int16 to int32.
    """
    halves = ("0, i32 1, i32 2, i32 3", "4, i32 5, i32 6, i32 7")

    def body(place: int, count: int) -> tuple[str, ...]:
        return (
            f"%wl = zext <{count} x i8> %left to <{count} x i16>",
            f"%a = shufflevector <{count} x i16> %wl, <{count} x i16> poison, {_splat(place, 4)}",
            "%wr = sext <8 x i8> %right to <8 x i16>",
            *(f"%b{i} = shufflevector <8 x i16> %wr, <8 x i16> poison, <4 x i32> <i32 {halves[i]}>" for i in (0, 1)),
            *(f"%p{i} = call <4 x i32> @{product}(<4 x i16> %b{i}, <4 x i16> %a)" for i in (0, 1)),
            f"%p = shufflevector <4 x i32> %p0, <4 x i32> %p1, <8 x i32> <i32 {', i32 '.join(halves)}>",
            "%r = add <8 x i32> %sums, %p",
        )

    declaration = f"<4 x i32> @{product}(<4 x i16>, <4 x i16>)"
    return LaneDots("tilewright_widened", body, (declaration,), lanes=8, group=1, bits=8, accumulator="int32")

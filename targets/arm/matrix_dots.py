"""NEON's products of matrices: two rows of the first operand by two columns of the second, as functions in LLVM IR.

    SMMLA, USMMLA    2 x 8 integers of 8 bits by 8 x 2         BFMMLA    2 x 4 bfloat16 by 4 x 2

A step takes two rows, each a load of two groups of 64 bits, which are zipped, and four columns: two instructions a
group. While k goes on, the vector of sums of the first row has those of both rows in the first two columns, and that of
the second row those in the other two; behind k they change places.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ...ir_types import Scalar, Stmt
from .. import rounding
from ..instructions import Emitted, Operand

_LANES = 4
_INTO_ROWS = ((0, 1, 4, 5), (2, 3, 6, 7))


@dataclass(frozen=True)
class MatrixDots:
    """What a step becomes: sums stay where the buffer of sums is, in vector registers.

    Attributes:
        name: of its functions.
        instruction: LLVM's name.
        bits: of an element of an operand.
        accumulator: the dtype of sums.
    """

    name: str
    instruction: str
    bits: int
    accumulator: str
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all vectors of sums to zero."""
        zero = tirx.Broadcast(tirx.const(0, self.accumulator), _LANES)
        return tuple(
            tirx.BufferStore(sums.buffer, zero, [place])
            for register, vector in _tiles(extents)
            for place in _both(sums, register, vector)
        )

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Zips each pair of rows and multiplies it with all pairs of columns, a group after the other."""
        count, step = extents["group"], []
        pairs = [
            [self._loaded(lhs, count, register=register, row=row) for row in range(2)]
            for register in range(extents["register"])
        ]
        for group in range(count):
            for vector in range(extents["vector"]):
                for half in range(2):
                    right = self._loaded(rhs, 2, vector=vector, group=group, lane=2 * half)
                    for register, rows in enumerate(pairs):
                        place = _both(sums, register, vector)[half]
                        total = tirx.BufferLoad(sums.buffer, [place])
                        value = self._call(f"{self.name}_{group}_of_{count}", total, *rows, right)
                        step.append(tirx.BufferStore(sums.buffer, value, [place]))
        return Emitted(tuple(step), after_sums=tuple(self._into_rows(sums, extents)))

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32 to bfloat16; integers are not rounded."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of one of its functions, or of that one."""
        name, _, rest = function.removeprefix(self.name).partition("_")
        if name or not function.startswith(self.name):
            return rounding.text_of(function)
        kind = "float" if "float" in self.accumulator else "i32"
        sums, operand = f"<{_LANES} x {kind}>", f"<{128 // self.bits} x {'i8' if self.bits == 8 else 'bfloat'}>"
        if rest.startswith("row"):
            places = ", ".join(f"i32 {place}" for place in _INTO_ROWS[int(rest[-1])])
            return f"""
define {sums} @{function}({sums} %first, {sums} %second) {{
  %r = shufflevector {sums} %first, {sums} %second, <4 x i32> <{places}>
  ret {sums} %r
}}
"""
        place, _, count = rest.partition("_of_")
        loaded = "i64" if count == "1" else f"<{count} x i64>"
        if count == "1":
            zipped = (
                "  %one = insertelement <2 x i64> poison, i64 %upper, i64 0\n"
                "  %both = insertelement <2 x i64> %one, i64 %lower, i64 1"
            )
        else:
            zipped = (
                f"  %both = shufflevector {loaded} %upper, {loaded} %lower, "
                f"<2 x i32> <i32 {place}, i32 {int(place) + int(count)}>"
            )
        return f"""
declare {sums} @{self.instruction}({sums}, {operand}, {operand})
define {sums} @{function}({sums} %sums, {loaded} %upper, {loaded} %lower, <2 x i64> %right) {{
{zipped}
  %a = bitcast <2 x i64> %both to {operand}
  %b = bitcast <2 x i64> %right to {operand}
  %r = call {sums} @{self.instruction}({sums} %sums, {operand} %a, {operand} %b)
  ret {sums} %r
}}
"""

    def _into_rows(self, sums: Operand, extents: Mapping[str, int]) -> list[Stmt]:
        """Brings the sums of each row together."""
        step: list[Stmt] = []
        for register, vector in _tiles(extents):
            places = _both(sums, register, vector)
            held = tirx.decl_buffer([2 * _LANES], self.accumulator, "halves", scope="local")
            step.append(tirx.AllocBuffer(held))
            own = [tirx.Ramp(tirx.const(_LANES * half, "int32"), 1, _LANES) for half in range(2)]
            for half in range(2):
                step.append(tirx.BufferStore(held, tirx.BufferLoad(sums.buffer, [places[half]]), [own[half]]))
            for row in range(2):
                value = self._call(f"{self.name}_row{row}", *(tirx.BufferLoad(held, [each]) for each in own))
                step.append(tirx.BufferStore(sums.buffer, value, [places[row]]))
        return step

    def _loaded(self, operand: Operand, count: int, **at: int) -> Scalar:
        """So many groups that lie side by side, as integers."""
        terms = tirx.BufferLoad(operand.buffer, [tirx.Ramp(operand.at(**at), 1, count * 64 // self.bits)])
        return tirx.reinterpret("int64" if count == 1 else f"int64x{count}", terms)

    def _call(self, name: str, *operands: Scalar) -> Scalar:
        return tirx.call_pure_extern(f"{self.accumulator}x{_LANES}", name, *operands)


def signed_octets() -> MatrixDots:
    """SMMLA."""
    return MatrixDots("tilewright_smmla", "llvm.aarch64.neon.smmla.v4i32.v16i8", 8, "int32")


def mixed_octets() -> MatrixDots:
    """USMMLA."""
    return MatrixDots("tilewright_usmmla", "llvm.aarch64.neon.usmmla.v4i32.v16i8", 8, "int32")


def bfloat16_quads() -> MatrixDots:
    """BFMMLA."""
    return MatrixDots("tilewright_bfmmla", "llvm.aarch64.neon.bfmmla", 16, "float32")


def _tiles(extents: Mapping[str, int]) -> list[tuple[int, int]]:
    return [(register, vector) for register in range(extents["register"]) for vector in range(extents["vector"])]


def _both(sums: Operand, register: int, vector: int) -> list[Scalar]:
    """The places of the sums of both rows."""
    return [tirx.Ramp(sums.at(register=register, row=row, vector=vector), 1, _LANES) for row in range(2)]

"""AMX: matrix instructions on tiles, which are set up before a loop over tiles of C and released behind it.

Tiles are numbered here: sums first, then the first operand's, then the second's. Intel 64 and IA-32 Architectures
Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TDPBF16PS, TDPBUSD, TILESTORED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx
from tvm.target import codegen

from ...ir_types import Scalar, Stmt
from .. import rounding
from ..instructions import Emitted, Operand

_PALETTE_BYTES = 64
_SUM_BYTES = 4


@dataclass(frozen=True)
class Tiles:
    """What a step becomes.

    Attributes:
        product: the instruction that multiplies two tiles.
        operand_bytes: of an element of an operand.
    """

    product: str = "tdpbf16ps"
    operand_bytes: int = 2
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def instruction(self, name: str, *arguments: Scalar) -> Stmt:
        """One instruction by the name of its intrinsic, without ``llvm.x86.``."""
        intrinsic = tirx.IntImm("uint32", codegen.llvm_lookup_intrinsic_id(f"llvm.x86.{name}"))
        return tirx.Evaluate(tirx.call_intrin("void", "tirx.call_llvm_intrin", intrinsic, *arguments))

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all tiles of sums to zero."""
        return tuple(
            self.instruction("tilezero", _tile(number)) for number in range(extents["register"] * extents["vector"])
        )

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Loads the tiles of both operands in turn, and multiplies each of one with each of the other.

        All loads come first: the first product waits for two of them alone, and the loads of the step after it are not
        behind products that wait.
        """
        registers, vectors = extents["register"], extents["vector"]
        first_left, first_right = registers * vectors, registers * vectors + registers
        left_stride = lhs.strides["row"] * self.operand_bytes
        right_stride = rhs.strides["group"] * self.operand_bytes
        loads = []
        for number in range(max(registers, vectors)):
            if number < vectors:
                loads.append(self._move("tileloadd64", first_right + number, rhs, right_stride, vector=number))
            if number < registers:
                loads.append(self._move("tileloadd64", first_left + number, lhs, left_stride, register=number))
        products = [
            self.instruction(
                self.product,
                _tile(register * vectors + vector),
                _tile(first_left + register),
                _tile(first_right + vector),
            )
            for register in range(registers)
            for vector in range(vectors)
        ]
        sums_stride = sums.strides["row"] * _SUM_BYTES
        stores = [
            self._move("tilestored64", register * vectors + vector, sums, sums_stride, register=register, vector=vector)
            for register in range(registers)
            for vector in range(vectors)
        ]
        return Emitted(
            (*loads, *products),
            after_sums=tuple(stores),
            before_tiles=self._set_up(palette(tile_sizes(extents, self.operand_bytes))),
            after_tiles=(self.instruction("tilerelease"),),
        )

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of that function."""
        return rounding.text_of(function)

    def _set_up(self, configuration: bytes) -> tuple[Stmt, ...]:
        """Loads a configuration of tiles, from the stack."""
        buffer = tirx.decl_buffer([_PALETTE_BYTES // 8], "int64", "tiles", scope="local")
        words = [int.from_bytes(configuration[at : at + 8], "little") for at in range(0, _PALETTE_BYTES, 8)]
        stores = [tirx.BufferStore(buffer, tirx.IntImm("int64", word), [index]) for index, word in enumerate(words)]
        address = tirx.address_of(tirx.BufferLoad(buffer, [0]))
        return (tirx.AllocBuffer(buffer), *stores, self.instruction("ldtilecfg", address))

    def _move(self, name: str, tile: int, place: Operand, stride: int, **at: int) -> Stmt:
        address = tirx.address_of(tirx.BufferLoad(place.buffer, [place.at(**at)]))
        return self.instruction(name, _tile(tile), address, tirx.IntImm("int64", stride))


def tile_sizes(extents: Mapping[str, int], operand_bytes: int) -> list[tuple[int, int]]:
    """Rows, and bytes a row, of the tiles of sums, of the first and of the second operand."""
    registers, vectors = extents["register"], extents["vector"]
    depth = extents["group"] * extents["term"]
    return [
        *[(extents["row"], extents["lane"] * _SUM_BYTES)] * (registers * vectors),
        *[(extents["row"], depth * operand_bytes)] * registers,
        *[(extents["group"], extents["lane"] * extents["term"] * operand_bytes)] * vectors,
    ]


def palette(sizes: Sequence[tuple[int, int]]) -> bytes:
    """The configuration of tiles by their rows and bytes a row.

    LDTILECFG: palette 1; bytes a row as 16-bit numbers from byte 16, rows from byte 48.
    """
    data = bytearray(_PALETTE_BYTES)
    data[0] = 1
    for number, (rows, row_bytes) in enumerate(sizes):
        data[16 + 2 * number : 18 + 2 * number] = row_bytes.to_bytes(2, "little")
        data[48 + number] = rows
    return bytes(data)


def _tile(number: int) -> Scalar:
    return tirx.IntImm("uint8", number)

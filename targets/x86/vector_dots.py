"""Vector instructions that add several products of narrow operands to each sum, as functions in LLVM IR.

A function takes the sums, a group of the first operand for all lanes, and a group of the second a lane. Groups are
integers: TVM has no bfloat16 in LLVM's sense. LLVM inlines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ...ir_types import Stmt
from .. import rounding
from ..instructions import Emitted, Operand
from ..vector_sums import zero_vectors


@dataclass(frozen=True)
class VectorDots:
    """What a step becomes: sums stay where the buffer of sums is, in vector registers.

    Attributes:
        function: its name.
        text: it, in LLVM IR.
        lanes: sums in a vector.
        group: products that are added to each.
        bits: of an element of the second operand.
        accumulator: the dtype of sums.
        lhs_bits: of an element of the first one, where it is wider; else 0.
    """

    function: str
    text: str
    lanes: int
    group: int
    bits: int
    accumulator: str
    lhs_bits: int = 0
    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all vectors of sums to zero."""
        return zero_vectors(sums, extents, self.lanes, self.accumulator)

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Repeats each group of the first operand in all lanes and multiplies it with each vector of the second."""
        step, kinds = [], [f"int{self.group * bits}" for bits in (self.lhs_bits or self.bits, self.bits)]
        for register in range(extents["register"]):
            group = tirx.BufferLoad(lhs.buffer, [tirx.Ramp(lhs.at(register=register), 1, self.group)])
            for vector in range(extents["vector"]):
                row = tirx.Ramp(sums.at(register=register, vector=vector), 1, self.lanes)
                groups = tirx.BufferLoad(rhs.buffer, [tirx.Ramp(rhs.at(vector=vector), 1, self.group * self.lanes)])
                value = tirx.call_pure_extern(
                    f"{self.accumulator}x{self.lanes}",
                    self.function,
                    tirx.BufferLoad(sums.buffer, [row]),
                    tirx.reinterpret(kinds[0], group),
                    tirx.reinterpret(f"{kinds[1]}x{self.lanes}", groups),
                )
                step.append(tirx.BufferStore(sums.buffer, value, [row]))
        return Emitted(tuple(step))

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32 to bfloat16; integers are not rounded."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of one of both functions."""
        return self.text if function == self.function else rounding.text_of(function)


def _function(name: str, sums: str, left: str, lanes: int, body: str, right: str = "") -> str:
    """A function of sums, a group for all lanes (repeated in %all) and a group a lane (%right)."""
    return f"""
define {sums} @{name}({sums} %sums, {left} %left, <{lanes} x {right or left}> %right) {{
  %one = insertelement <{lanes} x {left}> poison, {left} %left, i64 0
  %all = shufflevector <{lanes} x {left}> %one, <{lanes} x {left}> poison, <{lanes} x i32> zeroinitializer
{body}
  ret {sums} %r
}}
"""


def bfloat16_pairs() -> VectorDots:
    """AVX512-BF16: vdpbf16ps, a pair of products for 16 sums."""
    name, operand, sums = "tilewright_dot_pairs_bf16", "<32 x bfloat>", "<16 x float>"
    instruction = "llvm.x86.avx512bf16.dpbf16ps.512"
    body = f"""  %a = bitcast <16 x i32> %all to {operand}
  %b = bitcast <16 x i32> %right to {operand}
  %r = call {sums} @{instruction}({sums} %sums, {operand} %a, {operand} %b)"""
    declaration = f"\ndeclare {sums} @{instruction}({sums}, {operand}, {operand})"
    return VectorDots(name, declaration + _function(name, sums, "i32", 16, body), 16, 2, 16, "float32")


def integer_quads(lanes: int) -> VectorDots:
    """VNNI: vpdpbusd, four products of uint8 and int8 a sum, which wraps."""
    name, operand, sums = f"tilewright_dot_quads_x{lanes}", f"<{4 * lanes} x i8>", f"<{lanes} x i32>"
    instruction = f"llvm.x86.avx512.vpdpbusd.{32 * lanes}"
    body = f"""  %a = bitcast {sums} %all to {operand}
  %b = bitcast {sums} %right to {operand}
  %r = call {sums} @{instruction}({sums} %sums, {operand} %a, {operand} %b)"""
    declaration = f"\ndeclare {sums} @{instruction}({sums}, {operand}, {operand})"
    return VectorDots(name, declaration + _function(name, sums, "i32", lanes, body), lanes, 4, 8, "int32")


_WORD = 16  # bits of the operands of pmaddwd
# By the lanes of a register.
_PAIRS = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}


def integer_pairs(lanes: int, bits: int = 8) -> VectorDots:
    """pmaddwd: two products of int16 and of int8, which are made int16, or of int16, a sum: nothing saturates."""
    name, operand, sums = f"tilewright_dot_pairs_{bits}_x{lanes}", f"<{2 * lanes} x i16>", f"<{lanes} x i32>"
    narrow = f"<{2 * lanes} x i{bits}>"
    widened = f"sext {narrow} %n to {operand}" if bits < _WORD else f"or {narrow} %n, zeroinitializer"
    body = f"""  %a = bitcast {sums} %all to {operand}
  %n = bitcast <{lanes} x i{2 * bits}> %right to {narrow}
  %b = {widened}
  %p = call {sums} @{_PAIRS[lanes]}({operand} %a, {operand} %b)
  %r = add {sums} %sums, %p"""
    declaration = f"\ndeclare {sums} @{_PAIRS[lanes]}({operand}, {operand})"
    function = _function(name, sums, "i32", lanes, body, f"i{2 * bits}")
    return VectorDots(name, declaration + function, lanes, 2, bits, "int32", lhs_bits=_WORD)

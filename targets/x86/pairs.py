"""AVX512-BF16: vdpbf16ps adds the products of a pair of k to 16 sums, as a function in LLVM IR.

TVM has no bfloat16 in LLVM's sense: it stores 16-bit integers. The function takes and returns vectors that TVM knows,
and LLVM inlines it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tvm import tirx

from ..instructions import Emitted, Operand, Stmt
from . import rounding

# (16 sums, a pair for all lanes, a pair a lane) -> sums + products of the pairs.
FUNCTION = "tilewright_dot_pairs_bf16"
LANES = 16

TEXT = f"""
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
define <16 x float> @{FUNCTION}(<16 x float> %sums, i32 %left, <16 x i32> %right) {{
  %one = insertelement <16 x i32> poison, i32 %left, i64 0
  %all = shufflevector <16 x i32> %one, <16 x i32> poison, <16 x i32> zeroinitializer
  %a = bitcast <16 x i32> %all to <32 x bfloat>
  %b = bitcast <16 x i32> %right to <32 x bfloat>
  %r = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> %sums, <32 x bfloat> %a, <32 x bfloat> %b)
  ret <16 x float> %r
}}
"""


@dataclass(frozen=True)
class Pairs:
    """What a step of AVX512-BF16 becomes: sums stay where the buffer of sums is, in vector registers."""

    symbols: frozenset[str] = frozenset()
    objects: tuple[Path, ...] = ()

    def zero(self, sums: Operand, extents: Mapping[str, int]) -> tuple[Stmt, ...]:
        """Sets all vectors of sums to zero."""
        zero = tirx.Broadcast(tirx.FloatImm("float32", 0.0), LANES)
        return tuple(
            tirx.BufferStore(sums.buffer, zero, [tirx.Ramp(sums.at(register=register, vector=vector), 1, LANES)])
            for register in range(extents["register"])
            for vector in range(extents["vector"])
        )

    def multiply_add(self, sums: Operand, lhs: Operand, rhs: Operand, extents: Mapping[str, int]) -> Emitted:
        """Repeats each pair of the first operand in all lanes and multiplies it with each vector of the second."""
        step = []
        for register in range(extents["register"]):
            pair = tirx.BufferLoad(lhs.buffer, [tirx.Ramp(lhs.at(register=register), 1, 2)])
            for vector in range(extents["vector"]):
                row = tirx.Ramp(sums.at(register=register, vector=vector), 1, LANES)
                pairs = tirx.BufferLoad(rhs.buffer, [tirx.Ramp(rhs.at(vector=vector), 1, 2 * LANES)])
                value = tirx.call_pure_extern(
                    f"float32x{LANES}",
                    FUNCTION,
                    tirx.BufferLoad(sums.buffer, [row]),
                    tirx.reinterpret("int32", pair),
                    tirx.reinterpret(f"int32x{LANES}", pairs),
                )
                step.append(tirx.BufferStore(sums.buffer, value, [row]))
        return Emitted(tuple(step))

    def rounding(self, lanes: int) -> str:
        """The function that rounds so many float32."""
        return rounding.function_name(lanes)

    def text_of(self, function: str) -> str:
        """The text of one of both functions."""
        return TEXT if function == FUNCTION else rounding.text_of(function)

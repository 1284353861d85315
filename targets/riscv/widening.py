"""RISC-V's VWMACC: products of a scalar and a vector of 16 bits, added to sums of 32, as functions in LLVM IR."""

from __future__ import annotations

from ..lane_dots import LaneDots


def widened(lanes: int) -> LaneDots:
    """A product of uint8 and int8 a sum, exact: LLVM knows the instruction by what it computes."""

    def body(place: int, count: int) -> tuple[str, ...]:
        return (
            "%a = zext i8 %one to i32",
            f"%v = insertelement <{lanes} x i32> poison, i32 %a, i64 0",
            f"%w = shufflevector <{lanes} x i32> %v, <{lanes} x i32> poison, <{lanes} x i32> zeroinitializer",
            f"%b = sext <{lanes} x i8> %right to <{lanes} x i32>",
            f"%p = mul <{lanes} x i32> %w, %b",
            f"%r = add <{lanes} x i32> %sums, %p",
        )

    return LaneDots("tilewright_widened", body, (), lanes=lanes, group=1, bits=8, accumulator="int32")

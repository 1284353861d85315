"""NEON's products of narrow operands: a load brings several groups of the first operand, each of which is a lane."""

from __future__ import annotations

from collections.abc import Callable

from ..lane_dots import LaneDots

_LANE_BITS = 32


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


def widened(product: str, *, in_order: bool = False) -> LaneDots:
    """SMLAL on operands that were made int16: a product of uint8 and int8 a sum, exact.

    Args:
        product: LLVM's name of the instruction that multiplies four int16 to int32.
        in_order: as `LaneDots` has it.
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
            *(passed if in_order else ("%r = add <8 x i32> %sums, %p",)),
        )

    # What passes through an empty piece of assembly is there before what follows is loaded.
    passed = (
        "%t = add <8 x i32> %sums, %p",
        *(f"%t{i} = shufflevector <8 x i32> %t, <8 x i32> poison, <4 x i32> <i32 {halves[i]}>" for i in (0, 1)),
        *(f'%r{i} = call <4 x i32> asm sideeffect "", "=w,0"(<4 x i32> %t{i})' for i in (0, 1)),
        f"%r = shufflevector <4 x i32> %r0, <4 x i32> %r1, <8 x i32> <i32 {', i32 '.join(halves)}>",
    )
    declaration = f"<4 x i32> @{product}(<4 x i16>, <4 x i16>)"
    return LaneDots(
        "tilewright_widened", body, (declaration,), lanes=8, group=1, bits=8, accumulator="int32", in_order=in_order
    )

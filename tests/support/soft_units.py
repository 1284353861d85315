"""Units for narrow operands in software, so that code for them runs on every machine.

A target's units say what their instructions become: here matrix instructions are calls of `soft_tiles.c`, which the
library is linked with, and functions in LLVM IR have bodies of ordinary instructions. All else is as it is on a
processor that has the units.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import tempfile
from dataclasses import fields, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from tilewright import targets
from tilewright.targets import rounding
from tilewright.targets.target import DotUnit
from tilewright.targets.x86.levels import DOT_UNITS
from tilewright.targets.x86.tiles import Tiles
from tilewright.targets.x86.vector_dots import VectorDots
from tvm import tirx

SOURCE = Path(__file__).with_name("soft_tiles.c")
PREFIX = "soft_"
FUNCTIONS = ("ldtilecfg", "tilerelease", "tilezero", "tileloadd64", "tilestored64", "tdpbf16ps", "tdpbusd")

DOT_PAIRS = """
define <16 x float> @FUNCTION(<16 x float> %sums, i32 %left, <16 x i32> %right) {
  %one = insertelement <16 x i32> poison, i32 %left, i64 0
  %all = shufflevector <16 x i32> %one, <16 x i32> poison, <16 x i32> zeroinitializer
  %a0 = shl <16 x i32> %all, splat (i32 16)
  %b0 = shl <16 x i32> %right, splat (i32 16)
  %a1 = and <16 x i32> %all, splat (i32 -65536)
  %b1 = and <16 x i32> %right, splat (i32 -65536)
  %fa0 = bitcast <16 x i32> %a0 to <16 x float>
  %fb0 = bitcast <16 x i32> %b0 to <16 x float>
  %fa1 = bitcast <16 x i32> %a1 to <16 x float>
  %fb1 = bitcast <16 x i32> %b1 to <16 x float>
  %p0 = fmul <16 x float> %fa0, %fb0
  %p1 = fmul <16 x float> %fa1, %fb1
  %s0 = fadd <16 x float> %sums, %p0
  %s1 = fadd <16 x float> %s0, %p1
  ret <16 x float> %s1
}
"""


def dot_integers(dots: VectorDots) -> str:
    """Products of uint8 and int8, or of int16 and either, a term of the group after the other."""
    lanes, left = dots.lanes, dots.lhs_bits or dots.bits
    vector = f"<{lanes} x i32>"
    wide, narrow = (f"i{dots.group * bits}" for bits in (left, dots.bits))

    def widened(name: str, of: str) -> str:
        return f"zext <{lanes} x {of}> {name} to {vector}" if of != "i32" else f"or {vector} {name}, zeroinitializer"

    lines = [
        f"  %one = insertelement <{lanes} x {wide}> poison, {wide} %left, i64 0",
        f"  %all = shufflevector <{lanes} x {wide}> %one, <{lanes} x {wide}> poison, {vector} zeroinitializer",
        f"  %a = {widened('%all', wide)}",
        f"  %b = {widened('%right', narrow)}",
        f"  %s0 = or {vector} %sums, zeroinitializer",
    ]
    for term in range(dots.group):
        lines += [
            f"  %ah{term} = shl {vector} %a, splat (i32 {32 - left * (term + 1)})",
            f"  %al{term} = {'ashr' if dots.lhs_bits else 'lshr'} {vector} %ah{term}, splat (i32 {32 - left})",
            f"  %bh{term} = shl {vector} %b, splat (i32 {32 - dots.bits * (term + 1)})",
            f"  %bl{term} = ashr {vector} %bh{term}, splat (i32 {32 - dots.bits})",
            f"  %p{term} = mul {vector} %al{term}, %bl{term}",
            f"  %s{term + 1} = add {vector} %s{term}, %p{term}",
        ]
    head = f"define {vector} @{dots.function}({vector} %sums, {wide} %left, <{lanes} x {narrow}> %right) {{"
    return "\n".join([head, *lines, f"  ret {vector} %s{dots.group}", "}", ""])


def round_text(function: str) -> str:
    """`rounding.text_of` in integer arithmetic."""
    lanes = rounding.lanes_of(function)
    if not lanes:
        return ""
    wide, bits, narrow = (f"<{lanes} x {kind}>" for kind in ("float", "i32", "i16"))
    sixteen, one, half = (f"splat (i32 {number})" for number in (16, 1, 32767))
    if lanes == 1:
        wide, bits, narrow, sixteen, one, half = "float", "i32", "i16", "16", "1", "32767"
    return f"""
define {narrow} @{function}({wide} %value) {{
  %bits = bitcast {wide} %value to {bits}
  %last = lshr {bits} %bits, {sixteen}
  %odd = and {bits} %last, {one}
  %more = add {bits} %odd, {half}
  %sum = add {bits} %bits, %more
  %high = lshr {bits} %sum, {sixteen}
  %r = trunc {bits} %high to {narrow}
  ret {narrow} %r
}}
"""


class SoftTiles(Tiles):
    """Functions in C in the place of matrix instructions."""

    def instruction(self, name: str, *arguments: Any) -> Any:
        """A call."""
        return tirx.Evaluate(tirx.call_extern("int32", PREFIX + name, *arguments))

    def text_of(self, function: str) -> str:
        """Rounding in ordinary instructions."""
        return round_text(function)


class SoftDots(VectorDots):
    """Ordinary instructions in the place of vector instructions."""

    def text_of(self, function: str) -> str:
        """The same functions with other bodies."""
        if function != self.function:
            return round_text(function)
        return DOT_PAIRS.replace("FUNCTION", function) if self.accumulator == "float32" else dot_integers(self)


def soft_dots(unit: DotUnit) -> SoftDots:
    """Those of a unit of vectors."""
    dots = unit.instructions()
    return SoftDots(**{each.name: getattr(dots, each.name) for each in fields(dots)})


def soft_tiles(unit: DotUnit) -> SoftTiles:
    """With the functions that they call."""
    tiles = unit.instructions()
    return SoftTiles(
        tiles.product,
        tiles.operand_bytes,
        symbols=frozenset(PREFIX + name for name in FUNCTIONS),
        objects=(compiled(SOURCE),),
    )


# The vector units as fast as the fastest processors', so that they are used.
UNITS = {
    unit.name: replace(unit, instructions=partial(soft_tiles, unit), required_features=())
    if unit.is_matrix
    else replace(unit, instructions=partial(soft_dots, unit), required_features=(), costs=replace(unit.costs, rate=2.0))
    for unit in DOT_UNITS
}
BFLOAT16, INTEGERS = ([unit.name for unit in DOT_UNITS if unit.rhs == rhs] for rhs in ("bfloat16", "int8"))


@cache
def compiled(source: Path) -> Path:
    """The object file of a C source, in a folder that goes with this process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"{source.stem}.o"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-fPIC", "-c", str(source), "-o", str(path)], check=True)
    return path


def target_with(*names: str, cores: int = 2) -> targets.Target:
    """This machine, with these units."""
    units = tuple(UNITS[name] for name in names)
    return replace(targets.parse("host", cores=cores), units=units)

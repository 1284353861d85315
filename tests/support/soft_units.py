"""Units for narrow operands in software, so that code for them runs on every machine.

Matrix instructions become calls of `soft_tiles.c`, functions in LLVM IR get bodies of ordinary instructions; all else
is as it is on a processor that has the units.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tilewright import targets
from tilewright.compiler.codegen import llvm_objects
from tilewright.compiler.emission import link
from tilewright.compiler.lowering import llvm_functions, select_dots
from tilewright.targets.x86.levels import DOT_UNITS
from tvm import tirx

SOURCE = Path(__file__).with_name("soft_tiles.c")
PREFIX = "soft_"
# The vector unit as fast as the fastest processors', so that it is used.
UNITS = {unit.name: unit if unit.is_matrix else replace(unit, rate=2.0) for unit in DOT_UNITS}

TEXTS = {
    llvm_functions.DOT_PAIRS: f"""
define <16 x float> @{llvm_functions.DOT_PAIRS}(<16 x float> %sums, i32 %left, <16 x i32> %right) {{
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
}}
""",
}


def round_text(lanes: int) -> str:
    """`llvm_functions.round_text` in integer arithmetic."""
    wide, bits, narrow = (f"<{lanes} x {kind}>" for kind in ("float", "i32", "i16"))
    sixteen, one, half = (f"splat (i32 {number})" for number in (16, 1, 32767))
    if lanes == 1:
        wide, bits, narrow, sixteen, one, half = "float", "i32", "i16", "16", "1", "32767"
    return f"""
define {narrow} @{llvm_functions.round_function(lanes)}({wide} %value) {{
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


def target_with(*names: str, cores: int = 2) -> targets.Target:
    """This machine, with these units."""
    units = tuple(replace(UNITS[name], required_features=()) for name in names)
    return replace(targets.parse("host", cores=cores), units=units, dot_units=units)


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Puts software in the place of the units for the length of a test."""
    tiles = folder / "soft_tiles.o"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-fPIC", "-c", str(SOURCE), "-o", str(tiles)], check=True)
    functions = ("ldtilecfg", "tilerelease", "tilezero", "tileloadd64", "tilestored64", "tdpbf16ps")
    compile_glue = link.compile_glue

    def call(name: str, *arguments: Any) -> Any:
        return tirx.Evaluate(tirx.call_extern("int32", PREFIX + name.removeprefix("llvm.x86."), *arguments))

    def glue_and_tiles(toolchain: Any, working: Path) -> list[Path]:
        return [*compile_glue(toolchain, working), Path(shutil.copy(tiles, working))]

    monkeypatch.setattr(select_dots, "_call", call)
    monkeypatch.setattr(llvm_functions, "_TEXTS", TEXTS)
    monkeypatch.setattr(llvm_functions, "round_text", round_text)
    monkeypatch.setattr(llvm_objects, "_ALLOWED", llvm_objects._ALLOWED | {PREFIX + name for name in functions})
    monkeypatch.setattr(link, "compile_glue", glue_and_tiles)

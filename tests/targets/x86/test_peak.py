"""The loops that measure the peak: what the compiler makes of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from tilewright.compiler.measurement.machine_peak import program_around
from tilewright.targets.architecture import Level
from tilewright.targets.target import DotUnit
from tilewright.targets.x86.levels import DOT_UNITS, LEVELS
from tilewright.targets.x86.peak import FLAGS, multiply_adds

# By unit: the instruction, how many of it the loop has, and products that each adds to a sum.
LOOPS = {
    "AMX-BF16": ("tdpbf16ps", 4),
    "AVX512-BF16": ("vdpbf16ps", 28),
    "AMX-INT8": ("tdpbusd", 4),
    "AVX512-VNNI": ("vpdpbusd", 28),
    "AVX512-INT8": ("vpmaddwd", 28),
    "AVX-VNNI": ("vpdpbusd", 12),
    "AVX2-INT8": ("vpmaddwd", 12),
    "SSE2-INT8": ("pmaddwd", 12),
    "AVX512-INT16": ("vpmaddwd", 28),
    "AVX2-INT16": ("vpmaddwd", 12),
    "SSE2-INT16": ("pmaddwd", 12),
}


@pytest.mark.parametrize("unit", DOT_UNITS, ids=lambda unit: unit.name)
def test_the_peak_of_units(unit: DotUnit, tmp_path: Path) -> None:
    instruction, loop = LOOPS[unit.name]
    source = tmp_path / "peak.c"
    source.write_text(program_around(unit.peak(), max(32 * unit.lanes, 128), 1 << 28))
    command = ["gcc", "-O3", "-march=sapphirerapids", "-pthread", "-S", "-o", "-", str(source)]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count = len(re.findall(rf"(?<!v){instruction}\b", assembly))
    assert count and count % loop == 0  # the compiler may have copied the loop
    # Each instruction does two operations on each of rows * columns * terms.
    assert unit.peak().flops == loop * 2 * unit.rows * unit.lanes * unit.depth


@pytest.mark.parametrize(
    ("march", "level", "instructions", "register"),
    [
        # GCC would rather use half of the registers' width there.
        ("skylake-avx512", LEVELS[0], r"vfmadd213ps\s+%zmm\d+, %zmm\d+, %zmm(\d+)", "zmm"),
        ("haswell", LEVELS[1], r"vfmadd213ps\s+%ymm\d+, %ymm\d+, %ymm(\d+)", "ymm"),
        ("x86-64", LEVELS[2], r"mulps\s+%xmm\d+, %xmm(\d+)", "xmm"),
    ],
)
def test_the_loop_stays_in_registers(
    march: str, level: Level, instructions: str, register: str, tmp_path: Path
) -> None:
    source = tmp_path / "peak.c"
    source.write_text(program_around(multiply_adds(level), level.vector_bits, 1 << 28))
    command = ["gcc", f"-march={march}", *FLAGS[1:], "-O3", "-pthread", "-w", "-S", "-o", "-", str(source)]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    # The last of the blocks between labels that hold the instructions is the loop: the others are copies of it.
    blocks = [block for block in re.split(r"(?m)^\.L\w+:", assembly) if re.search(instructions, block)]
    assert blocks
    for block in blocks:
        body = block[: block.rindex(re.findall(r"\n\s*j\w+\s", block)[0])]
        sums = re.findall(instructions, body)
        assert len(set(sums)) == level.num_vector_registers - 4  # each chain has a register of its own
        assert "(" not in re.sub(r"#.*", "", body[re.search(instructions, body).start() :])  # and nothing is in memory
    reads = re.findall(r"v?addps\s+\S*\(\S+\), %([xyz]mm)\d+, %|addps\s+\S*\(\S+\), %(xmm)", assembly)
    assert {"".join(read) for read in reads} == {register}

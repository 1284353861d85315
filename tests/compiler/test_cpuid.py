"""The table of cpuid agrees with what Linux reads from the same processor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tilewright.compiler.cpuid import CPU_BITS, cpu_bits
from tilewright.errors import CompilerError

PROGRAM = """
#define _GNU_SOURCE
#include <stddef.h>
typedef struct { unsigned leaf, subleaf, index, bit; } cpu_bit;
static const cpu_bit cpu_needs[] = { {%uu, %u, %u, %u} };
#define CPU_STATE %uu
#include "cpu_check.c"
int FUNCTION(void) { return cpu_is_supported(); }
"""

# As Linux names them, where it does so differently.
LINUX = {
    "sse3": "pni", "pclmul": "pclmulqdq", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "bmi": "bmi1", "lzcnt": "abm",
    "amx-bf16": "amx_bf16", "amx-tile": "amx_tile", "amx-int8": "amx_int8", "avxvnni": "avx_vnni",
    "avx512vbmi2": "avx512_vbmi2", "avx512vnni": "avx512_vnni", "avx512bitalg": "avx512_bitalg",
    "avx512vpopcntdq": "avx512_vpopcntdq", "avx5124vnniw": "avx512_4vnniw", "avx5124fmaps": "avx512_4fmaps",
    "avx512vp2intersect": "avx512_vp2intersect", "avx512fp16": "avx512_fp16", "avx512bf16": "avx512_bf16",
}  # fmt: skip


def test_every_feature_is_found_where_linux_finds_it(tmp_path: Path) -> None:
    runtime = Path(__file__).resolve().parents[2] / "compiler" / "runtime"
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    present = set(flags.split(":")[1].split())
    calls, sources = [], []
    for i, bit in enumerate(CPU_BITS.values()):
        source = PROGRAM % (bit.leaf, bit.subleaf, bit.index, bit.bit, bit.state)
        (tmp_path / f"f{i}.c").write_text(source.replace("FUNCTION", f"f{i}"))
        sources.append(f"f{i}.c")
        calls.append(f"  putchar('0' + f{i}());")
    declarations = "".join(f"int f{i}(void);\n" for i in range(len(calls)))
    body = "\n".join(calls)
    (tmp_path / "main.c").write_text(f"#include <stdio.h>\n{declarations}int main(void) {{\n{body}\n  return 0;\n}}\n")
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{runtime}", "main.c", *sources, "-o", "ask"]
    subprocess.run(command, cwd=tmp_path, check=True)
    answers = subprocess.run([tmp_path / "ask"], check=True, capture_output=True, text=True).stdout

    found = {name for name, answer in zip(CPU_BITS, answers, strict=True) if answer == "1"}
    assert found == {name for name in CPU_BITS if LINUX.get(name, name) in present}
    assert {"sse2", "cmov"} <= found


def test_a_feature_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(CompilerError, match="no library knows how to check") as caught:
        cpu_bits(["avx2", "telepathy"])
    assert caught.value.details == ("telepathy",)

"""The table of features: it agrees with Linux on this processor, and what has no row is not generated."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.errors import CompilerError, UnsupportedTargetError
from tilewright.targets import llvm
from tilewright.targets.x86.cpu_check import check_of, cpu_check
from tilewright.targets.x86.features import FEATURES, ROWS, CpuBit

GNU = "#define _GNU_SOURCE\n"  # for syscall


def test_every_feature_is_found_where_linux_finds_it(tmp_path: Path) -> None:
    flags = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags"))
    present = FEATURES.from_linux(flags.split(":")[1].split())
    calls, sources = [], []
    listed = [row for row in ROWS.values() if row.linux]
    # What every x86-64 processor has must be found everywhere, unless the system does not save its registers.
    sse2, no_such_state = CpuBit(1, 0, 3, 26), 1 << 30
    bits = [*(row.bit for row in listed), sse2, replace(sse2, state=no_such_state)]
    for i, bit in enumerate(bits):
        (tmp_path / f"f{i}.c").write_text(f"{GNU}{check_of([bit])}int f{i}(void) {{ return cpu_is_supported(); }}\n")
        sources.append(f"f{i}.c")
        calls.append(f"  putchar('0' + f{i}());")
    declarations = "".join(f"int f{i}(void);\n" for i in range(len(calls)))
    body = "\n".join(calls)
    (tmp_path / "main.c").write_text(f"#include <stdio.h>\n{declarations}int main(void) {{\n{body}\n  return 0;\n}}\n")
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "main.c", *sources, "-o", "ask"]
    subprocess.run(command, cwd=tmp_path, check=True)
    answers = subprocess.run([tmp_path / "ask"], check=True, capture_output=True, text=True).stdout

    found = {row.name for row, answer in zip(listed, answers, strict=False) if answer == "1"}
    assert found == present
    assert answers[len(listed) :] == "10"


def test_a_feature_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(CompilerError, match="no library knows how to check") as caught:
        cpu_check(["avx2", "telepathy"])
    assert caught.value.details == ("telepathy",)


def test_what_linux_and_llvm_name_differently() -> None:
    flags = "pni sse4_1 abm bmi1 pclmulqdq avx512_bf16 avx512_vnni avx_vnni amx_tile amx_bf16 3dnowprefetch vme"
    assert FEATURES.from_linux(flags.split()) == {
        *("sse3", "sse4.1", "lzcnt", "bmi", "pclmul", "avx512bf16", "avx512vnni", "avxvnni"),
        *("amx-tile", "amx-bf16", "prfchw"),
    }


def test_every_name_is_one_that_llvm_has() -> None:
    # LLVM 19 dropped Knights Mill's two.
    unknown = {name for name in ROWS if name not in llvm.known_features("x86_64")}
    assert unknown <= {"avx5124vnniw", "avx5124fmaps"}


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_of_every_cpu_all_that_is_enabled_is_checked(precision: str | None) -> None:
    checked = 0
    for cpu in llvm.known_cpus("x86_64"):
        try:
            target = targets.parse("x86_64-linux-gnu", cpu=cpu)
        except UnsupportedTargetError:
            assert "64bit" not in llvm.enabled_features("x86_64", cpu)
            continue
        if precision:
            target = target.for_dtypes({precision})
        enabled = llvm.enabled_features("x86_64", cpu, target.features)
        instructions = {name for name in enabled if not FEATURES.is_tuning(name)}
        assert instructions - FEATURES.baseline == set(target.required_features), cpu
        assert cpu_check(target.required_features)
        checked += 1
    assert checked > 80

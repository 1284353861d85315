"""Targets: what a triple, a CPU and features give, and what is refused."""

from __future__ import annotations

import pytest
from tilewright import errors, targets
from tilewright.targets.host import read_host
from tilewright.targets.x86.architecture import X86_64


@pytest.mark.parametrize(
    ("cpu", "isa", "bits", "registers"),
    [
        ("x86-64", "SSE2", 128, 16),
        ("x86-64-v3", "AVX2", 256, 16),
        ("skylake-avx512", "AVX-512", 512, 32),
        ("znver3", "AVX2", 256, 16),
    ],
)
def test_levels(cpu: str, isa: str, bits: int, registers: int) -> None:
    target = targets.parse("x86_64-linux-gnu", cpu=cpu)
    assert (target.isa, target.vector_bits, target.num_vector_registers) == (isa, bits, registers)
    assert target.triple == "x86_64-unknown-linux-gnu"


def test_lines_of_results_cost_what_was_measured_with_vectors_of_that_width() -> None:
    costs = [targets.parse("x86_64-linux-gnu", cpu=cpu).core.line_apart for cpu in ("x86-64-v3", "x86-64-v4")]
    assert costs == [2, 12]
    assert targets.parse("x86_64-linux-gnu", cpu="x86-64-v4", features=("-avx512f",)).core.line_apart == 2


def test_features_move_the_level() -> None:
    assert targets.parse("x86_64-linux-gnu", cpu="skylake-avx512", features=("-avx512f",)).isa == "AVX2"
    assert targets.parse("x86_64-linux-gnu", features=("+avx2", "+fma")).isa == "AVX2"
    assert "avx2" in targets.parse("x86_64-linux-gnu", cpu="x86-64-v3").required_features
    assert not targets.parse("x86_64-linux-gnu").required_features


@pytest.mark.parametrize(
    "triple", ["x86_64-linux-gnu", "x86_64-unknown-linux-gnu", "x86_64-pc-linux-musl", "amd64-linux"]
)
def test_spellings(triple: str) -> None:
    assert targets.parse(triple).arch == "x86_64"


@pytest.mark.parametrize(
    "triple", ["vax-linux-gnu", "x86_64-windows-msvc", "x86_64-linux-gnu-extra-parts", "", "x86_64"]
)
def test_unknown_triples(triple: str) -> None:
    with pytest.raises(errors.UnsupportedTargetError, match="unknown target") as caught:
        targets.parse(triple)
    assert caught.value.exit_code == 3
    assert "host" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cortex-m4", "--target thumbv7em-none-eabihf --mcpu cortex-m4"),
        ("neoverse-n1", "--target aarch64-linux-gnu"),
        ("sm_90", "--target nvptx64-nvidia-cuda --mcpu sm_90"),
        ("arm64", "--target aarch64-linux-gnu"),
    ],
)
def test_what_stands_in_place_of_a_triple(name: str, meant: str) -> None:
    with pytest.raises(errors.UnsupportedTargetError, match="unknown target") as caught:
        targets.parse(name)
    assert meant in str(caught.value.hint)


def test_unknown_cpu_and_features() -> None:
    with pytest.raises(errors.UnsupportedTargetError, match="unknown CPU 'pentium9'"):
        targets.parse("x86_64-linux-gnu", cpu="pentium9")
    with pytest.raises(errors.UnsupportedTargetError, match="unknown feature"):
        targets.parse("x86_64-linux-gnu", features=("+warp-drive",))
    with pytest.raises(errors.UsageError, match="not written"):
        targets.parse("x86_64-linux-gnu", features=("avx2",))


@pytest.mark.parametrize(
    ("triple", "cpu", "other"),
    [
        ("aarch64-linux-gnu", "cortex-m4", "thumbv7em-none-eabihf"),
        ("aarch64-linux-gnu", "znver3", "x86_64-linux-gnu"),
        ("armv7-linux-gnueabihf", "cortex-m7", "thumbv7em-none-eabihf"),
        ("x86_64-linux-gnu", "cortex-a72", "aarch64-linux-gnu or armv7-linux-gnueabihf"),
    ],
)
def test_a_cpu_of_another_target(triple: str, cpu: str, other: str) -> None:
    with pytest.raises(errors.UnsupportedTargetError, match=cpu) as caught:
        targets.parse(triple, cpu=cpu)
    assert str(caught.value.hint).startswith(f"for {cpu}: --target {other}; ")


def test_host_is_a_machine_that_can_run() -> None:
    host = targets.host()
    assert host.cores >= 1
    assert host.l1_bytes <= host.l2_bytes
    assert set(host.required_features) <= read_host().features
    assert targets.parse("host", cores=1).cores == 1


def test_units_need_their_features_and_wide_vectors() -> None:
    wide = X86_64.levels[0].needs
    for features, expected in (
        (wide, ["AVX512-INT8", "AVX512-INT16"]),
        (wide | {"avx512vnni", "avxvnni"}, ["AVX512-VNNI", "AVX512-INT16"]),
        (wide | {"avx512bf16"}, ["AVX512-BF16", "AVX512-INT8", "AVX512-INT16"]),
        (wide | {"avx512bf16", "amx-tile", "amx-int8"}, ["AVX512-BF16", "AMX-INT8", "AVX512-INT8", "AVX512-INT16"]),
        (wide | {"avx512bf16", "amx-tile", "amx-bf16"}, ["AMX-BF16", "AVX512-BF16", "AVX512-INT8", "AVX512-INT16"]),
        ({"avx2", "fma", "avx512bf16"}, ["AVX2-INT8", "AVX2-INT16"]),
        ({"avx2", "fma", "avxvnni", "avx512vnni"}, ["AVX-VNNI", "AVX2-INT16"]),
        ({"avx", "avxvnni"}, ["SSE2-INT8", "SSE2-INT16"]),
    ):
        assert [unit.name for unit in X86_64.units_of(features)] == expected

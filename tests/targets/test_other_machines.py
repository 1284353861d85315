"""Machines that are not this one: what triples, CPUs and features give, and architectures that nobody has a row for."""

from __future__ import annotations

import warnings

import pytest
from assembly import kernels_in_assembly
from small_models import swish_network
from tilewright import targets
from tilewright.compiler.build import build
from tilewright.compiler.options import CompileOptions
from tilewright.errors import CompilerError, TargetWarning, UnsupportedTargetError
from tilewright.targets import llvm
from tilewright.targets.architecture import Architecture
from tilewright.targets.architectures import ARCHITECTURES
from tilewright.targets.host import parse_cpuinfo
from tilewright.targets.systems import LINUX, split
from tilewright.targets.toolchain import zig_toolchain


@pytest.mark.parametrize(
    ("triple", "cpu", "features", "isa", "bits", "required"),
    [
        ("aarch64-linux-gnu", None, (), "NEON", 128, ()),
        ("arm64-linux-musl", "neoverse-v1", (), "NEON", 128, ()),
        ("aarch64-linux-gnu", "cortex-a76", ("+dotprod",), "NEON", 128, ("dotprod",)),
        ("armv7-linux-gnueabihf", None, (), "NEON", 128, ()),
        ("armv7l-linux-musl", "cortex-a9", (), "NEON", 128, ()),
        ("riscv64-linux-gnu", None, (), "RV64GC", 32, ()),
        ("riscv64-linux-gnu", "sifive-u74", (), "RV64GC", 32, ()),
    ],
)
def test_levels(
    triple: str, cpu: str, features: tuple[str, ...], isa: str, bits: int, required: tuple[str, ...]
) -> None:
    target = targets.parse(triple, cpu=cpu, features=features)

    assert (target.isa, target.vector_bits, target.required_features) == (isa, bits, required)


def test_vectors_of_riscv_are_as_long_as_the_cpu_says() -> None:
    for features, isa in ((("+v",), "RVV"), (("+v", "+zvl256b"), "RVV 256")):
        assert targets.parse("riscv64-linux-gnu", features=features).isa == isa
    target = targets.parse("riscv64-linux-gnu", cpu="spacemit-x60")
    assert target.isa == "RVV 256" and {"v", "zvl256b"} <= set(target.required_features)
    assert targets.parse("riscv64-linux-gnu", cpu="spacemit-x60", features=("-v",)).isa == "RV64GC"


@pytest.mark.parametrize("cpu", ["cortex-a53", "cortex-a72", "cortex-a76", "neoverse-n1", "neoverse-v1", "apple-m1"])
def test_cores_of_their_own(cpu: str) -> None:
    row, target = ARCHITECTURES["aarch64"], targets.parse("aarch64-linux-gnu", cpu=cpu)

    processor = row.processors[row.aliases.get(cpu, cpu)]
    assert (target.core, target.l2_bytes) == (processor.core, processor.l2_bytes)
    assert target.cpu in llvm.known_cpus("aarch64")


@pytest.mark.parametrize("row", ARCHITECTURES.values(), ids=lambda row: row.name)
def test_processors_are_llvms(row: Architecture) -> None:
    assert {*row.processors, *row.aliases.values(), row.baseline_cpu, *row.example_cpus} - set(row.aliases) <= (
        llvm.known_cpus(row.name)
    )


@pytest.mark.parametrize(
    ("written", "whole"),
    [
        ("aarch64-linux", "aarch64-unknown-linux-gnu"),
        ("armv7-linux-gnueabihf", "armv7-unknown-linux-gnueabihf"),
        ("armv7-unknown-linux-musl", "armv7-unknown-linux-musleabihf"),
        ("x86_64-w64-windows-gnu", "x86_64-pc-windows-gnu"),
        ("arm64-apple-darwin23.1", "aarch64-apple-macosx11.0.0"),
        ("aarch64-macos", "aarch64-apple-macosx11.0.0"),
    ],
)
def test_spellings(written: str, whole: str) -> None:
    target = targets.parse(written)

    assert target.triple == whole == str(split(whole))
    assert target.object_format == split(whole).system.object_format


@pytest.mark.parametrize("triple", ["aarch64-freebsd", "aarch64-linux-gnueabihf", "aarch64-macos-gnu", "foo-linux-gnu"])
def test_what_is_no_target(triple: str) -> None:
    with pytest.raises(UnsupportedTargetError, match=r"(?s)unknown target.*aarch64-linux-gnu.*windows, macos"):
        targets.parse(triple)


@pytest.mark.parametrize(
    "first",
    [
        "powerpc64",
        "powerpc",
        "s390x",
        "aarch64_be",
        "armeb",
        "armv7eb",
        "thumbv7eb",
        "mips",
        "mips64",
        "sparcv9",
        "m68k",
    ],
)
def test_the_other_order_of_bytes_is_named(first: str) -> None:
    with pytest.raises(UnsupportedTargetError, match=r"(?s)stores the first byte last.*little-endian"):
        targets.parse(f"{first}-linux-gnu")


def test_an_architecture_without_a_row(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.warns(TargetWarning, match="no row for loongarch64"):
        made = build(swish_network(), None, CompileOptions("loongarch64-linux-gnu", jobs=1), stop_after="lower")

    assert made.target.isa == "generic" and not made.target.required_features
    assert "loongarch64-linux-gnu.2.36" in zig_toolchain(made.target.triple).cc
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TargetWarning)
        assert kernels_in_assembly(swish_network(), "loongarch64-linux-gnu")
        assert capfd.readouterr().err == "", "TVM guesses something"
        assert targets.parse("armv6-linux-gnueabihf").triple == "armv6-unknown-linux-gnueabihf"
        with pytest.raises(UnsupportedTargetError, match="unknown CPU"):
            targets.parse("i686-linux-gnu", cpu="cortex-a72")


@pytest.mark.parametrize("name", ["aarch64", "armv7", "riscv64"])
def test_what_libraries_ask_linux(name: str) -> None:
    row = ARCHITECTURES[name]
    text = row.cpu_check(tuple(row.features.rows))

    assert text.count("cpu_is_supported") == 2 and "getauxval" in text
    assert LINUX in row.systems
    with pytest.raises(CompilerError, match="no library knows"):
        row.cpu_check(("warp-drive",))


def test_what_linux_says_of_riscv() -> None:
    _, flags = parse_cpuinfo("processor\t: 0\nisa\t\t: rv64imafdcv_zicsr_zba\n")
    assert {"i", "v", "zba"} <= flags

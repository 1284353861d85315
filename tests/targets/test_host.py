"""This machine's CPU, features and caches: from records of what LLVM and Linux say of many machines.

The records in machines/ are the lines of /proc/cpuinfo that are read; some were taken from machines, the others put
together from what is published about the processors, and what hypervisors hide of them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tilewright import targets
from tilewright.targets import llvm
from tilewright.targets.host import HostFacts, parse_cpuinfo, read_caches, read_host

MACHINES = Path(__file__).with_name("machines")


@dataclass(frozen=True)
class Case:
    """A record, the name that LLVM has for its model number, and what should be found."""

    record: str
    llvm: str
    cpu: str
    isa: str
    units: tuple[str, ...] = ()
    without: tuple[str, ...] = ()  # that the CPU of this name has, and code must do without


AMX, VECTOR = "AMX-BF16", "AVX512-BF16"
CASES = (
    Case("intel-core2", "core2", "core2", "SSE2"),
    Case("intel-sandy-bridge", "sandybridge", "sandybridge", "SSE2"),
    Case("intel-haswell", "haswell", "haswell", "AVX2"),
    Case("intel-skylake-x", "skylake-avx512", "skylake-avx512", "AVX-512"),
    Case("intel-ice-lake", "icelake-server", "icelake-server", "AVX-512"),
    Case("intel-sapphire-rapids", "sapphirerapids", "sapphirerapids", "AVX-512", (AMX, VECTOR)),
    Case("intel-granite-rapids", "graniterapids", "graniterapids", "AVX-512", (AMX, VECTOR)),
    Case("intel-alder-lake", "alderlake", "alderlake", "AVX2"),
    Case("amd-zen2", "znver2", "znver2", "AVX2"),
    Case("amd-zen3", "znver3", "znver3", "AVX2"),
    Case("amd-zen4", "znver4", "znver4", "AVX-512", (VECTOR,)),
    Case("amd-zen5", "znver5", "znver5", "AVX-512", (VECTOR,)),
    Case("virtual-amd-zen5", "znver5", "znver5", "AVX-512", (VECTOR,)),
    # A model number of another processor, or of none that LLVM knows.
    Case("virtual-intel-amx-model-167", "rocketlake", "sapphirerapids", "AVX-512", (AMX, VECTOR)),
    Case("intel-granite-rapids", "x86-64", "sapphirerapids", "AVX-512", (AMX, VECTOR)),
    Case("amd-zen5", "x86-64", "znver5", "AVX-512", (VECTOR,)),
    Case("amd-zen5", "znver7", "znver5", "AVX-512", (VECTOR,)),
    Case("amd-zen3", "athlon-xp", "znver3", "AVX2"),
    Case("intel-haswell", "pentium2", "haswell", "AVX2"),
    Case("virtual-kvm64", "nocona", "nocona", "SSE2"),
    Case("virtual-kvm64", "pentium4", "x86-64", "SSE2"),
    Case("emulated-qemu-max", "k8-sse3", "x86-64-v3", "AVX2"),
    # A hypervisor hides what the processor has.
    Case("virtual-haswell-without-avx", "haswell", "westmere", "SSE2", (), ("avx", "avx2", "fma", "f16c")),
    Case("virtual-skylake-x-without-avx512", "skylake-avx512", "skylake", "AVX2", (), ("avx512f", "avx512vl")),
    Case(
        "virtual-sapphire-rapids-without-amx", "sapphirerapids", "sapphirerapids", "AVX-512", (VECTOR,), ("amx-tile",)
    ),
    Case("virtual-sapphire-rapids-without-avx512", "sapphirerapids", "alderlake", "AVX2", (), ("avx512f", "amx-tile")),
    Case("virtual-zen4-without-avx512", "znver4", "znver3", "AVX2", (), ("avx512f", "avx512bf16")),
    Case("virtual-haswell-without-avx", "x86-64-v4", "westmere", "SSE2", (), ("avx", "avx512f")),
)


def facts_of(record: str) -> HostFacts:
    name, flags = parse_cpuinfo((MACHINES / f"{record}.txt").read_text())
    assert name != "unknown CPU" and "fpu" in flags
    return replace(read_host(), machine="x86_64", model_name=name, flags=flags, cores=8)


def pretend(monkeypatch: pytest.MonkeyPatch, facts: HostFacts, cpu: str) -> None:
    module = sys.modules["tilewright.targets.parse"]  # the package has a function of that name
    monkeypatch.setattr(module, "read_host", lambda: facts)
    monkeypatch.setattr(llvm, "system_cpu", lambda: cpu)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.record} named {case.llvm}")
def test_recorded_machines(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_of(case.record)
    pretend(monkeypatch, facts, case.llvm)

    target = targets.host()

    assert (target.cpu, target.isa) == (case.cpu, case.isa)
    assert tuple(unit.name for unit in target.units if unit.rhs == "bfloat16") == case.units
    # Nothing is generated that Linux does not list, for units neither; and nothing is left out that it lists.
    wide = target.for_dtypes({"bfloat16", "uint8", "int8"})
    enabled = llvm.enabled_features("x86_64", wide.cpu, wide.features)
    assert set(wide.required_features) <= facts.features
    assert not enabled & set(case.without)
    vectors = {"avx", "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512dq", "avx512vl"}
    assert vectors & facts.features <= enabled


def test_records_cover_each_other() -> None:
    assert {path.stem for path in MACHINES.glob("*.txt")} == {case.record for case in CASES}


def test_this_machine() -> None:
    host, target = read_host(), targets.host()
    assert {"fpu", "sse2"} <= host.flags
    assert set(target.for_dtypes({"bfloat16"}).required_features) <= host.features


def test_a_machine_that_linux_says_nothing_of(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse_cpuinfo("") == ("unknown CPU", frozenset())
    pretend(monkeypatch, replace(facts_of("amd-zen5"), flags=frozenset()), "znver5")
    target = targets.host()
    assert (target.cpu, target.isa, target.required_features) == ("x86-64", "SSE2", ())


def test_one_processor_says_nothing_of_where_a_library_will_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, replace(facts_of("amd-zen5"), cores=1), "znver5")
    assert targets.host().cores > 1
    assert targets.parse("host", cores=1).cores == 1
    pretend(monkeypatch, replace(facts_of("amd-zen5"), cores=3), "znver5")
    assert targets.host().cores == 3


CACHES = {
    "Zen 5": (("Data", 1, "48K"), ("Instruction", 1, "32K"), ("Unified", 2, "1024K"), ("Unified", 3, "32768K")),
    "Sapphire Rapids": (("Data", 1, "48K"), ("Instruction", 1, "32K"), ("Unified", 2, "2048K"), ("Unified", 3, "105M")),
    "no third level": (("Instruction", 1, "64K"), ("Data", 1, "32K"), ("Unified", 2, "16M")),
    "bytes": (("Data", 1, "32768"), ("Unified", 2, "0K"), ("Unified", 3, "?")),
    "nothing": (),
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Zen 5", (48 << 10, 1 << 20, 32 << 20)),
        ("Sapphire Rapids", (48 << 10, 2 << 20, 105 << 20)),
        ("no third level", (32 << 10, 16 << 20, 16 << 20)),
        ("bytes", (32 << 10, 512 << 10, 8 << 20)),
        ("nothing", (32 << 10, 512 << 10, 8 << 20)),
    ],
)
def test_caches(name: str, expected: tuple[int, int, int], tmp_path: Path) -> None:
    for number, (kind, level, size) in enumerate(CACHES[name]):
        index = tmp_path / f"index{number}"
        index.mkdir()
        for file, text in (("type", kind), ("level", str(level)), ("size", size)):
            (index / file).write_text(f"{text}\n")
    assert read_caches(tmp_path) == expected

"""RISC-V of 64 bits as a row of the architectures: RV64GC, and the vector extension where a CPU has it.

Vectors are used at the length that a CPU surely has (Zvl128b and up); LLVM sets it for fixed vectors. A multiply-add
takes one operand from a scalar register, so nothing is broadcast. Libraries ask Linux for V, and the processor for the
length of its vectors; no other extension can be asked for in every kernel, so none is used.
"""

from __future__ import annotations

from collections.abc import Collection

from ..architecture import Architecture, EnabledFeatures, Level, Processor, Section
from ..core import IN_ORDER
from ..features import FeatureTable
from ..hwcap import HwcapFeature, cpu_check
from ..peak import PeakLoop, chains
from .units import UNITS

_KIB, _MIB = 1 << 10, 1 << 20
_V = "hwcap >> 21 & 1"
# What V consists of; Linux tells of V alone.
_PARTS = ("v", "zve32f", "zve32x", "zve64d", "zve64f", "zve64x", "zvl32b", "zvl64b", "zvl128b")
_LONGER = (256, 512, 1024)
_LENGTH = """#if __riscv_xlen == 64
static unsigned long vector_bits(void) {
  unsigned long bytes;
  __asm__ volatile("csrr %0, 0xc22" : "=r"(bytes)); /* vlenb */
  return 8 * bytes;
}
#endif"""

ROWS = {
    **{name: HwcapFeature(name, "v" if name == "v" else "", True, _V) for name in _PARTS},
    **{f"zvl{n}b": HwcapFeature(f"zvl{n}b", "", True, f"({_V}) && vector_bits() >= {n}") for n in _LONGER},
}
_BASELINE = "64bit i m a f d c zaamo zalrsc zca zcd zicsr zifencei zmmul"
_TUNING_KINDS = ("optimized-", "use-", "no-", "short-", "vl-", "dlen-", "unaligned-", "prefer-", "log-", "vxrm-")

FEATURES = FeatureTable(
    rows=ROWS,
    baseline=frozenset(_BASELINE.split()),
    needed=frozenset({"64bit", "m", "a", "f", "d", "c"}),
    is_tuning=lambda name: name.startswith(_TUNING_KINDS),
)


def _host_cpu(system_cpu: str, flags: Collection[str], enabled: EnabledFeatures) -> tuple[str, tuple[str, ...]]:
    name = system_cpu if enabled(system_cpu, ()) else "generic-rv64"
    return name, (() if "v" in flags or "v" not in enabled(name, ()) else ("-v",))


def _peak(level: Level) -> PeakLoop:
    return chains("a{i} = x * a{i} + y;", level.num_vector_registers, 2 * level.vector_bits // 32)


def _emulator_options(features: Collection[str]) -> tuple[str, ...]:
    if "v" not in features:
        return ()
    bits = max((n for n in _LONGER if f"zvl{n}b" in features), default=128)
    return ("-cpu", f"rv64,v=true,vext_spec=v1.0,vlen={bits},elen=64")


RISCV64 = Architecture(
    name="riscv64",
    spellings=("rv64", "rv64gc"),
    baseline_cpu="generic-rv64",
    levels=(
        *(
            Level(f"RVV {n}", frozenset({"v", f"zvl{n}b"}), n, 32, True, broadcasts_operands=True, keeps_loops=True)
            for n in (512, 256)
        ),
        Level(
            "RVV",
            frozenset({"v"}),
            vector_bits=128,
            num_vector_registers=32,
            has_fma=True,
            broadcasts_operands=True,
            keeps_loops=True,
        ),
        Level(
            "RV64GC",
            frozenset(),
            vector_bits=32,
            num_vector_registers=32,
            has_fma=True,
            broadcasts_operands=False,
            keeps_loops=True,
        ),
    ),
    units=UNITS,
    unit_costs={},
    core=IN_ORDER,
    processors={"spacemit-x60": Processor(IN_ORDER, 32 * _KIB, 512 * _KIB, 512 * _KIB)},
    features=FEATURES,
    half_features=("zfhmin",),
    notable_features=("v",),
    host_cpu=_host_cpu,
    cpu_check=cpu_check(ROWS, _LENGTH),
    pause='__asm__ volatile(".insn i 0x0f, 0, x0, x0, 0x010");',  # Zihintpause; elsewhere it does nothing
    weights_section=Section(".rodata.tilewright_weights", "a"),
    peak=_peak,
    peak_flags=("-ffp-contract=fast",),
    example_cpus=("sifive-u74", "spacemit-x60"),
    example_features=("+v", "+v,+zvl256b"),
    baseline_features=("+m", "+a", "+f", "+d", "+c"),
    llvm_options={"mabi": "lp64d"},
    emulator="riscv64",
    emulator_options=_emulator_options,
    debian="riscv64",
)

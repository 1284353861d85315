"""AArch64 as a row of the architectures: NEON on every core; SVE is left alone, its cores run NEON as fast or faster.

Features: LLVM's names, Linux's, and the bits of HWCAP and HWCAP2 (arch/arm64/include/uapi/asm/hwcap.h).
"""

from __future__ import annotations

from ..architecture import Architecture, Level, Section
from ..features import FeatureTable
from ..hwcap import bit, cpu_check
from ..systems import SYSTEMS
from . import peak
from .cores import A76, PROCESSORS
from .host import host_cpu
from .units import UNIT_COSTS, UNITS

# None makes float32 code faster; units for narrow operands ask for theirs. Arithmetic in float16 (fullfp16) rounds
# differently.
ROWS = {
    row.name: row
    for row in (
        bit("aes", "aes", 3),
        bit("sha2", "sha2", 6),
        bit("crc", "crc32", 7),
        bit("lse", "atomics", 8),
        bit("fullfp16", "asimdhp", 10),
        bit("rdm", "asimdrdm", 12),
        bit("jsconv", "jscvt", 13),
        bit("complxnum", "fcma", 14),
        bit("rcpc", "lrcpc", 15),
        bit("dotprod", "asimddp", 20),
        bit("sve", "sve", 22),
        bit("fp16fml", "asimdfhm", 23),
        bit("sve2", "sve2", 1, word="hwcap2"),
        bit("i8mm", "i8mm", 13, word="hwcap2"),
        bit("bf16", "bf16", 14, word="hwcap2"),
    )
}
_TUNING_KINDS = (
    "fuse-",
    "use-",
    "enable-",
    "disable-",
    "alu-",
    "addr-",
    "slow-",
    "predictable-",
    "prefer-",
    "zcm-",
    "zcz-",
)


FEATURES = FeatureTable(
    rows=ROWS,
    baseline=frozenset({"fp-armv8", "neon"}),
    needed=frozenset({"fp-armv8", "neon"}),
    is_tuning=lambda name: name.startswith(_TUNING_KINDS),
)

AARCH64 = Architecture(
    name="aarch64",
    spellings=("arm64",),
    baseline_cpu="generic",
    levels=(
        Level(
            "NEON",
            frozenset(),
            vector_bits=128,
            num_vector_registers=32,
            has_fma=True,
            broadcasts_operands=False,
            operand_lanes=4,
            written_steps=8,
            keeps_loops=True,
        ),
    ),
    units=UNITS,
    unit_costs=UNIT_COSTS,
    core=A76,
    processors=PROCESSORS,
    # Apple's marketing names, which LLVM takes and does not list.
    aliases={"apple-m1": "apple-a14", "apple-m2": "apple-a15", "apple-m3": "apple-a16"},
    features=FEATURES,
    half_features=(),
    notable_features=("dotprod", "fullfp16", "i8mm", "bf16", "sve"),
    host_cpu=host_cpu(FEATURES),
    cpu_check=cpu_check(ROWS),
    pause='__asm__ volatile("yield");',
    weights_section=Section(".rodata.tilewright_weights", "a"),
    peak=peak.multiply_adds,
    peak_flags=("-mcpu=native",),
    example_cpus=("cortex-a72", "neoverse-n1", "apple-m1"),
    example_features=("+dotprod", "-crc"),
    emulator="aarch64",
    emulator_options=lambda features: ("-cpu", "max"),
    debian="arm64",
    systems=SYSTEMS,
)

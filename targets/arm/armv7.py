"""ARMv7-A with NEON and floats in registers (hard float) as a row of the architectures.

NEON of 32 bits flushes subnormal numbers to zero, operands and results alike. Its fused multiply-adds take no single
lane as an operand, so an element is repeated in a register first.
"""

from __future__ import annotations

from ..architecture import Architecture, Level, Section
from ..features import FeatureTable
from ..hwcap import bit, cpu_check
from . import peak
from .cores import PROCESSORS_32
from .host import host_cpu
from .units import UNITS_32

_VFP4 = ("vfp4", "vfp4d16", "vfp4d16sp", "vfp4sp")
ROWS = {
    row.name: row
    for row in (
        *(bit(name, "vfpv4", 16, generated=True) for name in _VFP4),
        bit("hwdiv-arm", "idiva", 17, generated=True),
        bit("hwdiv", "idivt", 18, generated=True),
    )
}
# fp16 converts float16 and comes with vfp4, or with a CPU that was named: there is no bit for it alone.
_BASELINE = """
    aclass armv7-a d32 db dsp fp16 fp64 fpregs fpregs64 neon perfmon thumb2 v4t v5t v5te v6 v6k v6m v6t2 v7 v7clrex v8m
    vfp2 vfp2sp vfp3 vfp3d16 vfp3d16sp vfp3sp
"""
_TUNING_KINDS = ("avoid-", "expand-", "fix-", "fpao", "muxed-", "neon-", "prefer-", "ret-", "slow", "vldn-", "vmlx-")

# Of 16: without some to spare LLVM moves sums from one to another at every step.
_REGISTERS = 14

FEATURES = FeatureTable(
    rows=ROWS,
    baseline=frozenset(_BASELINE.split()),
    needed=frozenset({"neon", "v7", "vfp3"}),
    is_tuning=lambda name: name.startswith(_TUNING_KINDS),
)

ARMV7 = Architecture(
    name="armv7",
    spellings=("armv7l", "armv7a", "armv7hf", "armhf"),
    baseline_cpu="generic",
    levels=(
        Level(
            "NEON with FMA",
            frozenset({"vfp4"}),
            vector_bits=128,
            num_vector_registers=_REGISTERS,
            has_fma=True,
            broadcasts_operands=False,
            asks_for_fma=True,
            keeps_loops=True,
        ),
        Level(
            "NEON",
            frozenset(),
            vector_bits=128,
            num_vector_registers=_REGISTERS,
            has_fma=False,
            broadcasts_operands=False,
            keeps_loops=True,
        ),
    ),
    units=UNITS_32,
    unit_costs={},
    core=PROCESSORS_32["cortex-a15"].core,
    processors=PROCESSORS_32,
    features=FEATURES,
    half_features=("vfp4",),
    notable_features=("vfp4", "hwdiv"),
    host_cpu=host_cpu(FEATURES),
    cpu_check=cpu_check(ROWS),
    pause='__asm__ volatile("yield");',
    weights_section=Section(".rodata.tilewright_weights", "a"),
    peak=peak.multiply_adds_32,
    peak_flags=("-mfpu=neon-vfpv4",),
    example_cpus=("cortex-a7", "cortex-a9", "cortex-a53"),
    example_features=("+vfp4", "-hwdiv"),
    abi="eabihf",
    emulator="arm",
    debian="armhf",
    llvm_options={"mfloat-abi": "hard"},
    zig="arm",
    zig_cpu="generic+v7a+neon",
    zig_flags=("-fno-unwind-tables",),  # which name functions, by which C++ unwinds through others
)

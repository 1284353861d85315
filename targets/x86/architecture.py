"""x86-64 as a row of the architectures."""

from __future__ import annotations

from ..architecture import Architecture, Section
from ..systems import SYSTEMS
from . import peak
from .cpu_check import cpu_check
from .features import FEATURES
from .host import host_cpu
from .levels import CORE, DOT_UNITS, HALF_FEATURES, LEVELS, UNIT_COSTS

X86_64 = Architecture(
    name="x86_64",
    spellings=("amd64",),
    baseline_cpu="x86-64",
    levels=LEVELS,
    units=DOT_UNITS,
    unit_costs=UNIT_COSTS,
    core=CORE,
    features=FEATURES,
    half_features=HALF_FEATURES,
    notable_features=(
        "avx2",
        "fma",
        "avxvnni",
        "avx512f",
        "avx512vnni",
        "avx512bf16",
        "amx-tile",
        "amx-bf16",
        "amx-int8",
    ),
    host_cpu=host_cpu,
    cpu_check=cpu_check,
    pause="__builtin_ia32_pause();",
    # Outside all that instructions reach with an offset of 32 bits, so that there may be more than 2 GiB of them.
    weights_section=Section(".lrodata.tilewright_weights", "al"),
    peak=peak.multiply_adds,
    peak_flags=peak.FLAGS,
    example_cpus=("x86-64-v3", "znver3", "skylake-avx512"),
    example_features=("+avx2", "-avx512f"),
    emulator="x86_64",
    emulator_options=lambda features: ("-cpu", "max"),
    debian="amd64",
    systems=SYSTEMS,
)

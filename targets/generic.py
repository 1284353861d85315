"""Architectures without a row: code that runs, by nobody's numbers.

LLVM generates code for any architecture that it knows, for its least CPU; schedules take it for a small machine without
vectors; libraries check for nothing before they run. LLVM ends the process where it does not know a name, so the names
are listed here, and with them what zig calls them. Weights are written in the order of bytes of all other targets, so
architectures with the other order are not among them.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from .architecture import Architecture, EnabledFeatures, Level, Section
from .core import IN_ORDER
from .features import FeatureTable
from .peak import PeakLoop, chains

# LLVM's names, as expressions, zig's, what follows the C library's name, and what that calling convention needs.
_NAMES: tuple[tuple[str, str, str, tuple[str, ...], dict[str, str]], ...] = (
    (r"i[3-6]86", "x86", "", (), {}),
    (r"armv6(k|kz)?", "arm", "eabihf", ("+vfp2",), {"mfloat-abi": "hard"}),
    (r"riscv32", "riscv32", "", ("+m", "+a", "+f", "+d", "+c"), {"mabi": "ilp32d"}),
    (r"loongarch64", "loongarch64", "", (), {}),
    (r"powerpc64le", "powerpc64le", "", (), {}),
    (r"mips64el", "mips64el", "", (), {}),
)

# Those of the other order of bytes.
BIG_ENDIAN = re.compile(r"(powerpc|ppc)(64)?|s390x?|aarch64_be|(arm|thumb)v?[\w.]*eb|mips(64)?(r6)?|sparc(v9|64)?|m68k")

# Few registers for addresses and small caches, as nobody knows better; some look ahead.
_CORE = replace(IN_ORDER, fma_latency=4, instructions_in_flight=16, l1_way_bytes=4096, addressed_rows=4)
_REGISTERS = 16
# TVM guesses with a warning where nothing is said; scalar code has no vectors.
_VECTOR_WIDTH: dict[str, str | int] = {"vector-width": 128}


def _host_cpu(system_cpu: str, flags: Collection[str], enabled: EnabledFeatures) -> tuple[str, tuple[str, ...]]:
    return "generic", ()


def _peak(level: Level) -> PeakLoop:
    return chains("a{i} = x * a{i} + y;", level.num_vector_registers, 2 * level.vector_bits // 32)


_ROW = Architecture(
    name="",
    spellings=(),
    baseline_cpu="generic",
    levels=(Level("generic", frozenset(), 32, _REGISTERS, has_fma=False, broadcasts_operands=False),),
    units=(),
    unit_costs={},
    core=_CORE,
    # Whatever LLVM uses of a CPU's own accord stays on: nothing is checked for.
    features=FeatureTable(rows={}, baseline=frozenset(), needed=frozenset(), is_tuning=lambda name: True),
    half_features=("none can be asked for",),
    notable_features=(),
    host_cpu=_host_cpu,
    cpu_check=lambda features: "static int cpu_is_supported(void) { return 1; }\n",
    pause=";",
    weights_section=Section(".rodata.tilewright_weights", "a"),
    peak=_peak,
    peak_flags=(),
    example_cpus=("generic",),
    example_features=("+name",),
)


def generic_architecture(name: str) -> Architecture | None:
    """The row of an architecture that has none in the table; None where LLVM does not know it, or it is no target."""
    for pattern, zig, abi, features, options in _NAMES:
        if re.fullmatch(pattern, name):
            return replace(
                _ROW, name=name, zig=zig, abi=abi, baseline_features=features, llvm_options={**_VECTOR_WIDTH, **options}
            )
    return None


def is_generic(architecture: Architecture) -> bool:
    """Whether it has no row of its own."""
    return architecture.core is _CORE

"""x86-64: its instruction levels, and which of them a CPU name or a set of features gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .target import DotUnit


@dataclass(frozen=True)
class Level:
    """One instruction level: a row that schedules are written for."""

    isa: str
    needs: frozenset[str]  # LLVM feature names
    vector_bits: int
    num_vector_registers: int
    has_fma: bool
    required_features: tuple[str, ...]  # spelled as GCC's __builtin_cpu_supports does


# Best first: a CPU is used at the first level whose needs it fulfils.
LEVELS = (
    Level(
        "AVX-512",
        frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
        512,
        32,
        True,
        ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx2", "fma", "bmi", "bmi2"),
    ),
    Level("AVX2", frozenset({"avx2", "fma"}), 256, 16, True, ("avx2", "fma", "bmi", "bmi2")),
    Level("SSE2", frozenset(), 128, 16, False, ()),
)

# The units for narrow operands, the fastest first; LLVM names the features that they need as GCC does.
DOT_UNITS = (
    DotUnit("AMX-BF16", "bfloat16", 2, 16, 16, 32, 8, 1.0, ("amx-tile", "amx-bf16", "avx512bf16")),
    DotUnit("AVX512-BF16", "bfloat16", 2, 1, 16, 2, 32, 4.0, ("avx512bf16",)),
)
_HALF_FEATURES = ("f16c",)

# Features that LLVM may use on its own at a CPU of that level and that older CPUs lack.
SSE4_FEATURES = ("sse4.2", "popcnt")


def level_of(features: Collection[str]) -> Level:
    """The best level that a CPU with these LLVM features has."""
    return next(level for level in LEVELS if level.needs.issubset(features))


def half_features(features: Collection[str]) -> tuple[str, ...] | None:
    """What code that converts float16 needs, if a CPU with these LLVM features has it."""
    return _HALF_FEATURES if set(_HALF_FEATURES).issubset(features) else None


def dot_units(features: Collection[str], level: Level) -> tuple[DotUnit, ...]:
    """The units that a CPU with these LLVM features has."""
    return tuple(
        unit for unit in DOT_UNITS if level.vector_bits == 512 and set(unit.required_features).issubset(features)
    )


def required_features(features: Collection[str], level: Level) -> tuple[str, ...]:
    """What the emitted code needs at run time, as ``__builtin_cpu_supports`` names it."""
    return level.required_features + tuple(name for name in SSE4_FEATURES if name in features)

"""x86-64: its instruction levels, and which of them a CPU name or a set of features gives."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from ..core import Core
from ..target import DotUnit


@dataclass(frozen=True)
class Level:
    """One instruction level: a row that schedules are written for."""

    isa: str
    needs: frozenset[str]  # LLVM feature names
    vector_bits: int
    num_vector_registers: int
    has_fma: bool
    broadcasts_operands: bool


# Best first: a CPU is used at the first level whose needs it fulfils.
LEVELS = (
    Level("AVX-512", frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}), 512, 32, True, True),
    Level("AVX2", frozenset({"avx2", "fma"}), 256, 16, True, False),
    Level("SSE2", frozenset(), 128, 16, False, False),
)

# Loads, multiply-adds and their latency: the same on every x86-64 core with AVX2 or AVX-512 of the last ten years. What
# steps and tiles cost, and how many rows the general registers address: measured on AVX2.
CORE = Core(
    loads_per_cycle=2,
    fmas_per_cycle=2,
    fma_latency=4,
    l2_vectors_per_cycle=0.6,
    l3_bytes_per_cycle=12.0,
    dram_bytes_per_cycle=5.0,
    step_overhead=0.5,
    tile_overhead=2.0,
    addressed_rows=6,
)

# What a step and a tile cost beside the instructions of a unit.
_COSTS = {"loads_per_cycle": 2.0, "step_overhead": 1.0, "tile_overhead": 3.0}
# The units for narrow operands, the fastest first. Intel's cores start vdpbf16ps a quarter as often as multiply-adds
# (Sapphire Rapids: 1.9 and 7.6 times a nanosecond).
DOT_UNITS = (
    DotUnit("AMX-BF16", "bfloat16", 2, 16, 16, 32, 8, 1 / 16, 1.0, ("amx-tile", "amx-bf16", "avx512bf16"), **_COSTS),
    DotUnit("AVX512-BF16", "bfloat16", 2, 1, 16, 2, 32, 0.5, 6.0, ("avx512bf16",), **_COSTS),
)
# Instructions a cycle where it is another than in `DOT_UNITS`, by unit and CPU. Zen 5: vdpbf16ps 2.0 a cycle with a
# latency of 6.0 cycles, multiply-adds 2.0 with 4.0. Zen 4, with units half as wide, starts half as many of both.
_RATES = {("AVX512-BF16", "znver4"): 2.0, ("AVX512-BF16", "znver5"): 2.0}
_HALF_FEATURES = ("f16c",)


def level_of(features: Collection[str]) -> Level:
    """The best level that a CPU with these LLVM features has."""
    return next(level for level in LEVELS if level.needs.issubset(features))


def half_features(features: Collection[str]) -> tuple[str, ...] | None:
    """What code that converts float16 needs, if a CPU with these LLVM features has it."""
    return _HALF_FEATURES if set(_HALF_FEATURES).issubset(features) else None


def dot_units(features: Collection[str], level: Level, cpu: str = "") -> tuple[DotUnit, ...]:
    """The units that a CPU with these LLVM features has; by its name how fast they are."""
    return tuple(
        replace(unit, rate=_RATES.get((unit.name, cpu), unit.rate))
        for unit in DOT_UNITS
        if level.vector_bits == 512 and set(unit.required_features).issubset(features)
    )

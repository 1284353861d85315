"""x86-64: its instruction levels, its units for narrow operands, and what instructions cost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..architecture import Level
from ..core import Core, UnitCosts
from ..target import FLOAT32_BITS, DotUnit, repeating
from . import peak

if TYPE_CHECKING:
    from ..instructions import Instructions

# Best first: a CPU is used at the first level whose needs it fulfils. Operands in memory are broadcast by an encoding
# that came with AVX-512. Lines apart with AVX2: measured on Zen 3, 56x56 pixels of 64 channels and 256 results, which
# take 1.91 ms by tiles that avoid them and 1.75 ms by those that do not; 169 of 512 and 1,000 results 2.3 and 1.94.
LEVELS = (
    Level("AVX-512", frozenset({"avx512f", "avx512bw", "avx512dq", "avx512vl"}), 512, 32, True, True),
    Level("AVX2", frozenset({"avx2", "fma"}), 256, 16, True, False, line_apart=2.0),
    Level("SSE2", frozenset(), 128, 16, False, False),
)

# Loads, multiply-adds and their latency: the same on every x86-64 core with AVX2 or AVX-512 of the last ten years. What
# steps and tiles cost, and how many rows the general registers address: measured on AVX2. What all cores get together:
# Sapphire Rapids, 16 of them (300 and 140 GB/s), and there what prefetching gains. Lines apart: measured on Zen 5,
# pointwise layers of 56x56 pixels. A hand-off: there too, by `python -m benchmarks.hand_off`.
CORE = Core(
    loads_per_cycle=2,
    fmas_per_cycle=2,
    fma_latency=4,
    l2_vectors_per_cycle=0.6,
    l3_bytes_per_cycle=12.0,
    dram_bytes_per_cycle=5.0,
    prefetched_bytes_per_cycle=10.0,
    l3_shared_bytes_per_cycle=100.0,
    dram_shared_bytes_per_cycle=45.0,
    step_overhead=0.5,
    tile_overhead=2.0,
    data_transform=3.0,
    result_transform=2.5,
    line_apart=12.0,
    hand_off=1500.0,
    instructions_in_flight=400,
    line_bytes=64,
    l1_way_bytes=4096,
    addressed_rows=6,
)


_WIDEST_LANES = 16


def _tiles_used(rows: int, registers: int, vectors: int) -> int:
    """A register for each tile of sums and of both operands."""
    return registers * vectors + registers + vectors


def _tiles() -> Instructions:
    from .tiles import Tiles

    return Tiles()


def _integer_tiles() -> Instructions:
    from .tiles import Tiles

    return Tiles("tdpbusd", 1)


def _bfloat16_pairs() -> Instructions:
    from .vector_dots import bfloat16_pairs

    return bfloat16_pairs()


def _integer_quads(lanes: int) -> Instructions:
    from .vector_dots import integer_quads

    return integer_quads(lanes)


def _integer_pairs(lanes: int, bits: int = 8) -> Instructions:
    from .vector_dots import integer_pairs

    return integer_pairs(lanes, bits)


# Sapphire Rapids. A row of a tile is multiplied in a cycle, two are loaded, and products of one sum wait for each other
# as long as Intel's manual for optimization says. Results that leave for L3 in lines apart: measured on 56x56 pixels of
# 64 channels and 256 results, 381 us where panels are outermost, 197 us in blocks of rows.
_TILE_COSTS = UnitCosts(
    rate=1 / 16,
    latency=52.0,
    loads_per_cycle=2.0,
    step_overhead=1.0,
    tile_overhead=1.0,
    beside=3.0,
    line_apart=28.0,
)
# Intel's cores start vdpbf16ps a quarter as often as multiply-adds (Sapphire Rapids: 1.9 and 7.6 times a nanosecond).
_PAIR_COSTS = UnitCosts(rate=0.5, latency=6.0, loads_per_cycle=2.0, step_overhead=1.0, tile_overhead=3.0)
# Zen 5 and Sapphire Rapids start two vpdpbusd a cycle, Zen 3 two vpmaddwd, beside which there is room for an addition
# each but not for all that makes columns int16. What is copied: 16 elements in a load, a store and making them wider.
_QUAD_COSTS = UnitCosts(rate=2.0, latency=5.0, loads_per_cycle=2.0, step_overhead=0.5, tile_overhead=2.0)
_INTEGER_PAIR_COSTS = replace(_QUAD_COSTS, rate=1.85, copied=0.08)
_WORD_PAIR_COSTS = replace(_QUAD_COSTS, rate=2.0)


def _widened(rows: int, registers: int, vectors: int) -> int:
    """Sums, a step's columns, a group of one row, and its products until they are added."""
    return registers * vectors + vectors + 2


def _vector_unit(name: str, lanes: int, features: tuple[str, ...] = ()) -> DotUnit:
    """A row of vectors of uint8 and int8: four products a lane with VNNI, which are its features, else two."""
    bits = FLOAT32_BITS * lanes
    return DotUnit(
        name=name,
        lhs="uint8",
        rhs="int8",
        accumulator="int32",
        group=4 if features else 2,
        rows=1,
        lanes=lanes,
        depth=4 if features else 2,
        registers=32 if lanes == _WIDEST_LANES else 16,
        required_features=features,
        instructions=partial(_integer_quads if features else _integer_pairs, lanes),
        peak=partial(peak.integer_quads if features else peak.integer_pairs, bits),
        costs=_QUAD_COSTS if features else _INTEGER_PAIR_COSTS,
        registers_used=repeating if features else _widened,
        copied_as="" if features else "int16",
    )


def _wide_unit(name: str, lanes: int) -> DotUnit:
    """A row of vectors of pairs of int16: what 8-bit integers have become by Winograd's transforms."""
    return replace(
        _vector_unit(name, lanes),
        lhs="int16",
        rhs="int16",
        costs=_WORD_PAIR_COSTS,
        instructions=partial(_integer_pairs, lanes, 16),
        copied_as="",
    )


# The units for narrow operands, the fastest first.
DOT_UNITS = (
    DotUnit(
        name="AMX-BF16",
        lhs="bfloat16",
        rhs="bfloat16",
        accumulator="float32",
        group=2,
        rows=16,
        lanes=16,
        depth=32,
        registers=8,
        required_features=("amx-tile", "amx-bf16", "avx512bf16"),
        instructions=_tiles,
        peak=peak.tiles,
        costs=_TILE_COSTS,
        is_matrix=True,
        registers_used=_tiles_used,
    ),
    DotUnit(
        name="AVX512-BF16",
        lhs="bfloat16",
        rhs="bfloat16",
        accumulator="float32",
        group=2,
        rows=1,
        lanes=16,
        depth=2,
        registers=32,
        required_features=("avx512bf16",),
        instructions=_bfloat16_pairs,
        peak=peak.pairs,
        costs=_PAIR_COSTS,
    ),
    DotUnit(
        name="AMX-INT8",
        lhs="uint8",
        rhs="int8",
        accumulator="int32",
        group=4,
        rows=16,
        lanes=16,
        depth=64,
        registers=8,
        required_features=("amx-tile", "amx-int8"),
        instructions=_integer_tiles,
        peak=partial(peak.tiles, "tdpbusd", 1),
        costs=_TILE_COSTS,
        is_matrix=True,
        registers_used=_tiles_used,
    ),
    _vector_unit("AVX512-VNNI", 16, ("avx512vnni",)),
    _vector_unit("AVX512-INT8", 16),
    _vector_unit("AVX-VNNI", 8, ("avxvnni",)),
    _vector_unit("AVX2-INT8", 8),
    _vector_unit("SSE2-INT8", 4),
    _wide_unit("AVX512-INT16", 16),
    _wide_unit("AVX2-INT16", 8),
    _wide_unit("SSE2-INT16", 4),
)
# What they cost where it is something else, by unit and CPU. Zen 5: vdpbf16ps 2.0 a cycle with a latency of 6.0 cycles,
# multiply-adds 2.0 with 4.0. Zen 4, with units half as wide, starts half as many of both.
_ZEN_PAIR_COSTS = replace(_PAIR_COSTS, rate=2.0)
UNIT_COSTS = {("AVX512-BF16", "znver4"): _ZEN_PAIR_COSTS, ("AVX512-BF16", "znver5"): _ZEN_PAIR_COSTS}
HALF_FEATURES = ("f16c",)

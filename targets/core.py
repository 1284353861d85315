"""What instructions cost on one core: the numbers that schedules estimate cycles by."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Core:
    """One core, its first cache level included.

    Attributes:
        loads_per_cycle: vectors that it starts to load in a cycle.
        fmas_per_cycle: vector multiply-adds that it starts in a cycle.
        fma_latency: cycles until the result of a multiply-add can be used by the next one.
        l2_vectors_per_cycle: vectors that it reads from L2 in a cycle, one line after the other.
        l3_bytes_per_cycle, dram_bytes_per_cycle: bytes that it streams from L3 or from memory in a cycle.
        prefetched_bytes_per_cycle: bytes from memory in a cycle that code asked for early enough.
        l3_shared_bytes_per_cycle, dram_shared_bytes_per_cycle: what all cores together get at most.
        step_overhead: cycles that a step of an inner loop costs beside its arithmetic.
        tile_overhead: cycles a register of results that a tile costs beside its inner loop: addresses, stores.
        data_transform, result_transform: cycles of Winograd's transforms, a point of a tile and vector of channels.
        line_apart: cycles that a cache line of results costs where its neighbours are written much later.
        hand_off: cycles that it takes to have a second core work too and to wait for it, both awake.
        instructions_in_flight: instructions behind one that waits, which the core sees and starts before it.
        line_bytes: of a cache line.
        l1_way_bytes: addresses so far apart share the few places of one set in L1.
        addressed_rows: rows whose addresses fit the general registers; those of more are reloaded at every step.
        single_issue: whether it starts one instruction at a time, so that loads take the time of multiply-adds.
        vectors_a_load: that stand side by side and come by one instruction.
        beside: cycles that an instruction of an inner loop beside its multiply-adds costs although these run meanwhile:
            it takes one of the places of those that start together.
    """

    loads_per_cycle: float
    fmas_per_cycle: float
    fma_latency: float
    l2_vectors_per_cycle: float
    l3_bytes_per_cycle: float
    dram_bytes_per_cycle: float
    prefetched_bytes_per_cycle: float
    l3_shared_bytes_per_cycle: float
    dram_shared_bytes_per_cycle: float
    step_overhead: float
    tile_overhead: float
    data_transform: float
    result_transform: float
    line_apart: float
    hand_off: float
    instructions_in_flight: int
    line_bytes: int
    l1_way_bytes: int
    addressed_rows: int
    single_issue: bool = False
    vectors_a_load: int = 1
    beside: float = 0.0

    def together(self, *cycles: float) -> float:
        """Cycles of what can be done at the same time, where anything can."""
        return sum(cycles) if self.single_issue else max(cycles)


@dataclass(frozen=True)
class UnitCosts:
    """What instructions of a unit for narrow operands cost on a core.

    Attributes:
        rate: instructions that a core starts in a cycle, all rows in each.
        latency: cycles until a sum can be used by the next instruction.
        loads_per_cycle: rows of operands, in its registers, that a core loads from L1 in a cycle.
        step_overhead, tile_overhead: as `Core` has them for multiply-adds.
        beside: cycles of the vector unit a register of results of a tile, while the unit multiplies for the next.
        line_apart: cycles until a cache line of results can be written where its neighbours are written much later.
        copied: cycles that an element of the first operand takes to be copied, where it is (`DotUnit.copied_as`).
    """

    rate: float
    latency: float
    loads_per_cycle: float
    step_overhead: float
    tile_overhead: float
    beside: float = 0.0
    line_apart: float = 0.0
    copied: float = 0.0


# Two instructions a cycle, in order, as SiFive's U74, SpacemiT's X60 and many a small core.
IN_ORDER = Core(
    loads_per_cycle=1,
    fmas_per_cycle=1,
    fma_latency=5,
    l2_vectors_per_cycle=0.5,
    l3_bytes_per_cycle=4.0,
    dram_bytes_per_cycle=2.0,
    prefetched_bytes_per_cycle=2.0,
    l3_shared_bytes_per_cycle=16.0,
    dram_shared_bytes_per_cycle=4.0,
    step_overhead=1.0,
    tile_overhead=4.0,
    data_transform=3.0,
    result_transform=2.5,
    line_apart=12.0,
    hand_off=4000.0,
    instructions_in_flight=4,
    line_bytes=64,
    l1_way_bytes=8192,
    addressed_rows=8,
)

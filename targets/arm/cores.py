"""What instructions cost on Arm's and Apple's cores, and their caches.

Numbers of instructions: Arm's Software Optimization Guides of each core; of Apple's, what is published of measurements
(dougallj.github.io/applecpu). What streams from caches and memory: of the same generation's published bandwidths. None
of it was measured by this project: emulators tell nothing of time.
"""

from __future__ import annotations

from dataclasses import replace

from ..architecture import Processor
from ..core import Core

_KIB, _MIB = 1 << 10, 1 << 20

# Cortex-A76, which Neoverse N1 is built on: two multiply-adds and two loads of 128 bits a cycle.
A76 = Core(
    loads_per_cycle=2,
    fmas_per_cycle=2,
    fma_latency=4,
    l2_vectors_per_cycle=1.0,
    l3_bytes_per_cycle=8.0,
    dram_bytes_per_cycle=4.0,
    prefetched_bytes_per_cycle=6.0,
    l3_shared_bytes_per_cycle=64.0,
    dram_shared_bytes_per_cycle=16.0,
    step_overhead=0.25,
    tile_overhead=2.0,
    data_transform=3.0,
    result_transform=2.5,
    line_apart=12.0,
    hand_off=3000.0,
    instructions_in_flight=128,
    line_bytes=64,
    l1_way_bytes=16384,
    addressed_rows=8,
    vectors_a_load=2,
    beside=0.1,
)
# One multiply-add and one load of 128 bits a cycle.
A72 = replace(
    A76,
    loads_per_cycle=1,
    fmas_per_cycle=1,
    fma_latency=7,
    l2_vectors_per_cycle=0.6,
    l3_bytes_per_cycle=4.0,
    dram_bytes_per_cycle=2.0,
    prefetched_bytes_per_cycle=3.0,
    dram_shared_bytes_per_cycle=4.0,
    instructions_in_flight=128,
)
# In order: what waits holds up all behind it; a load of 128 bits takes two cycles.
A53 = replace(
    A72,
    loads_per_cycle=0.5,
    fma_latency=8,
    l2_vectors_per_cycle=0.4,
    step_overhead=1.0,
    tile_overhead=4.0,
    instructions_in_flight=2,
    beside=0.3,
)
V1 = replace(
    A76, loads_per_cycle=3, fmas_per_cycle=4, l2_vectors_per_cycle=2.0, instructions_in_flight=256,
    dram_shared_bytes_per_cycle=80.0, l3_shared_bytes_per_cycle=256.0,
)  # fmt: skip
M1 = replace(
    V1, l3_bytes_per_cycle=16.0, dram_bytes_per_cycle=16.0, prefetched_bytes_per_cycle=18.0,
    dram_shared_bytes_per_cycle=20.0, instructions_in_flight=600, line_bytes=128,
)  # fmt: skip

# By LLVM's names. Caches that manufacturers may choose: the usual ones.
PROCESSORS = {
    **dict.fromkeys(
        ("cortex-a34", "cortex-a35", "cortex-a53", "cortex-a55", "cortex-a510", "cortex-a520"),
        Processor(A53, 32 * _KIB, 512 * _KIB, 512 * _KIB),
    ),
    **dict.fromkeys(("cortex-a57", "cortex-a72", "cortex-a73"), Processor(A72, 32 * _KIB, 1 * _MIB, 1 * _MIB)),
    **dict.fromkeys(
        ("cortex-a75", "cortex-a76", "cortex-a77", "cortex-a78"), Processor(A76, 64 * _KIB, 512 * _KIB, 2 * _MIB)
    ),
    **dict.fromkeys(("neoverse-n1", "ampere1"), Processor(A76, 64 * _KIB, 1 * _MIB, 32 * _MIB)),
    **dict.fromkeys(
        ("neoverse-v1", "neoverse-v2", "neoverse-n2", "grace", "cortex-x1", "cortex-x2", "cortex-x3", "cortex-x4"),
        Processor(V1, 64 * _KIB, 1 * _MIB, 32 * _MIB),
    ),
    **dict.fromkeys(
        ("apple-a14", "apple-a15", "apple-a16", "apple-a17", "apple-m4"), Processor(M1, 128 * _KIB, 3 * _MIB, 8 * _MIB)
    ),
}
# Cores of 32 bits, or used with 32: the same pipelines, half as many registers for vectors and addresses.
PROCESSORS_32 = {
    **dict.fromkeys(
        ("cortex-a5", "cortex-a7", "cortex-a8", "cortex-a9", "cortex-a32", "cortex-a35", "cortex-a53"),
        Processor(replace(A53, addressed_rows=4), 32 * _KIB, 512 * _KIB, 512 * _KIB),
    ),
    **dict.fromkeys(
        ("cortex-a15", "cortex-a17", "cortex-a57", "cortex-a72"),
        Processor(replace(A72, addressed_rows=4), 32 * _KIB, 1 * _MIB, 1 * _MIB),
    ),
}

"""Tiles of tensors that the tensor memory accelerator copies to what a block shares: one thread asks, all wait.

A tile is lines of 128 bytes, whose 16-byte units are exchanged by the number of the line among eight, as wgmma reads
them. What a tensor is, the driver has written into a map that the kernel is given (`cuda_project/maps.c`). A barrier in
shared memory counts the bytes that came; each time that all of them are there begins its next phase.
"""

from __future__ import annotations

from ..grid import COPY_FENCE, TILE_COPY, TILES_BEGIN, TILES_EXPECT, TILES_WAIT
from ..target import TargetFunction

TENSOR_MAP = "tensor_map"  # the type of a map, in kernels and in what launches them
_RANKS = (2, 3)


def tile_copies() -> tuple[TargetFunction, ...]:
    """The functions of a machine that has them."""
    texts = {
        COPY_FENCE: _FENCE,
        TILES_BEGIN: _BEGIN,
        TILES_EXPECT: _EXPECT,
        TILES_WAIT: _WAIT,
        **{f"{TILE_COPY}{rank}": _copy(rank) for rank in _RANKS},
    }
    return tuple(TargetFunction(name, name, text) for name, text in texts.items())


def _shared(pointer: str) -> str:
    """An operand: an address in shared memory."""
    return f'"r"((uint32_t)__cvta_generic_to_shared({pointer}))'


def _copy(rank: int) -> str:
    """The function for tensors of a rank."""
    names = "xyzvw"[:rank]
    given = ", ".join(f"int {name}" for name in names)
    places = ", ".join(f"%{3 + at}" for at in range(rank))
    operands = ", ".join(f'"r"({name})' for name in names)
    kind = f"cp.async.bulk.tensor.{rank}d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
    parameters = f"void *to, const {TENSOR_MAP} &from, void *barrier, {given}"
    return f"""static __device__ inline void {TILE_COPY}{rank}({parameters}) {{
  asm volatile("{kind} [%0], [%1, {{{places}}}], [%2];"
               : : {_shared("to")}, "l"(&from), {_shared("barrier")}, {operands} : "memory");
}}"""


_FENCE = f"""static __device__ inline void {COPY_FENCE}() {{
  asm volatile("fence.proxy.async.shared::cta;" : : : "memory");
}}"""
_BEGIN = f"""static __device__ inline void {TILES_BEGIN}(void *barrier) {{
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" : : {_shared("barrier")} : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory");
}}"""
_EXPECT = f"""static __device__ inline void {TILES_EXPECT}(void *barrier, int bytes) {{
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;"
               : : {_shared("barrier")}, "r"(bytes) : "memory");
}}"""
_WAIT = f"""static __device__ inline void {TILES_WAIT}(void *barrier, int phase) {{
  uint32_t done;
  do {{
    asm volatile("{{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.b32 %0, 1, 0, p; }}"
                 : "=r"(done) : {_shared("barrier")}, "r"(phase) : "memory");
  }} while (!done);
}}"""

"""What a vectorized loop allocates for itself: an element a lane.

TVM's VectorizeLoop makes vectors of loads and stores, but leaves a buffer that is allocated inside of the loop as it
is: all lanes would share it. It becomes one with room for every lane, before the loop:

    for lane in vectorized(8):               total = alloc[8]
        total = alloc[1]                     for lane in vectorized(8):
        total[0] = 0                ->           total[lane] = 0
        ...                                      ...

LLVM keeps it in registers.
"""

from __future__ import annotations

import math

import tvm_ffi
from tvm import tirx

from ...ir_passes.core.buffers import with_buffers
from ...ir_types import Buffer, For, PrimFunc, Stmt
from ...schedules.tensorir.rebuild import found, with_body

_NOTHING = tirx.Evaluate(0)


def give_lanes_storage(function: PrimFunc) -> PrimFunc:
    """Rewrites the vectorized loops of a function whose buffers are flat."""
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _with_storage)))


def _with_storage(loop: For) -> Stmt:
    allocations = found(loop.body, tirx.AllocBuffer) if loop.kind == tirx.ForKind.VECTORIZED else []
    if not allocations:
        return loop
    lane, lanes = loop.loop_var, int(loop.extent)
    enlarged = {each.buffer: _enlarged(each.buffer, lanes) for each in allocations}

    body = tvm_ffi.structural_map(loop.body, (tirx.AllocBuffer, lambda each: _NOTHING))
    body = with_buffers(body, enlarged, moved=lambda buffer, indices: [index * lanes + lane for index in indices])
    return tirx.SeqStmt([*(tirx.AllocBuffer(each) for each in enlarged.values()), with_body(loop, body)])


def _enlarged(buffer: Buffer, lanes: int) -> Buffer:
    size = math.prod(int(extent) for extent in buffer.shape) * lanes
    return tirx.decl_buffer([tirx.IntImm("int64", size)], str(buffer.dtype), str(buffer.name), scope=buffer.scope())

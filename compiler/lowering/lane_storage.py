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
from typing import Any

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...schedules.tensorir.rebuild import found, with_body

_NOTHING = tirx.Evaluate(0)


def give_lanes_storage(function: Any) -> Any:
    """Rewrites the vectorized loops of a function whose buffers are flat."""
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, _with_storage)))


def _with_storage(loop: Any) -> Any:
    allocations = found(loop.body, tirx.AllocBuffer) if loop.kind == tirx.ForKind.VECTORIZED else []
    if not allocations:
        return loop
    lane, lanes = loop.loop_var, int(loop.extent)
    enlarged = {each.buffer: _enlarged(each.buffer, lanes) for each in allocations}

    def places(indices: Any) -> list[Any]:
        return [index * lanes + lane for index in indices]

    def load(node: Any) -> Any:
        return tirx.BufferLoad(enlarged[node.source], places(node.indices)) if node.source in enlarged else node

    def store(node: Any) -> Any:
        if node.buffer not in enlarged:
            return node
        return tirx.BufferStore(enlarged[node.buffer], node.value, places(node.indices))

    changes = [(tirx.AllocBuffer, lambda node: _NOTHING), (tirx.BufferStore, store), (TensorLoad, load)]
    body = tvm_ffi.structural_map(loop.body, changes)
    return tirx.SeqStmt([*(tirx.AllocBuffer(each) for each in enlarged.values()), with_body(loop, body)])


def _enlarged(buffer: Any, lanes: int) -> Any:
    size = math.prod(int(extent) for extent in buffer.shape) * lanes
    return tirx.decl_buffer([tirx.IntImm("int64", size)], str(buffer.dtype), str(buffer.name), scope=buffer.scope())

"""Buffers that a kernel allocates inside its loops -> buffers at its root, which the plan places in the workspace.

A buffer of scope `global` inside serial loops moves up as it is: every iteration uses the same memory. Iterations of a
parallel loop need memory each, but only as many as run at a time: the loop is cut into one run of iterations a worker,

    for i in parallel(E):                 for worker in parallel(W):
        alloc b[S]                   ->       for step in range(E / W):
        ... b[j] ...                              ... b[worker * S + j] ...         i = worker * E / W + step

and the buffer gets room for W workers. Buffers of scope `local` stay where they are: in registers or on the stack.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tvm_ffi
from tvm import tirx

from ...ir_passes.core.buffers import with_buffers
from ...ir_types import Buffer, For, Node, PrimFunc, Scalar, Stmt
from ...schedules.tensorir.rebuild import substituted


def hoist_scratch(function: PrimFunc, workers: int) -> PrimFunc:
    """Moves allocations of scope `global` to the root of a function whose buffers are flat.

    Args:
        function: after FlattenBuffer and before VectorizeLoop; parallel loops are not nested.
        workers: cores that share a parallel loop, at least 1.
    """
    if not _allocations(function.body, at_root=False):
        return function
    body = tvm_ffi.structural_map(function.body, (tirx.For, lambda loop: _give_workers_memory(loop, workers)))
    inner = _allocations(body, at_root=False)
    body = tvm_ffi.structural_map(
        body, (tirx.AllocBuffer, lambda each: _NOTHING if any(each.same_as(other) for other in inner) else each)
    )
    return function.with_body(tirx.SeqStmt([*inner, body]))


_LINE_ELEMENTS = 64  # at least one cache line, whatever the dtype
_NOTHING = tirx.Evaluate(0)


def _give_workers_memory(loop: For, workers: int) -> Stmt:
    """The parallel `loop`, cut for so many workers, with all its allocations enlarged; another loop as it is."""
    found = _allocations(loop.body) if loop.kind == tirx.ForKind.PARALLEL else []
    if not found:
        return loop
    index = loop.loop_var
    extent = int(loop.extent)
    workers = min(workers, extent)
    steps = math.ceil(extent / workers)
    worker = tirx.Var(f"{index.name}_worker", index.ty)
    step = tirx.Var(f"{index.name}_step", index.ty)
    enlarged = {each.buffer: _enlarged(each.buffer, workers) for each in found}

    def moved(buffer: Buffer, indices: Sequence[Scalar]) -> list[Scalar]:
        (position,) = indices
        first = position.base if isinstance(position, tirx.Ramp) else position
        first = worker * tirx.IntImm(str(first.ty.dtype), _stride(buffer)) + first
        return [tirx.Ramp(first, position.stride, position.lanes) if isinstance(position, tirx.Ramp) else first]

    body = with_buffers(loop.body, enlarged, moved=moved)
    position = worker * tirx.IntImm(str(index.ty.dtype), steps) + step
    body = substituted(body, {index: position})
    if steps * workers != extent:
        body = tirx.IfThenElse(position < loop.extent, body, None)
    zero = tirx.IntImm(str(index.ty.dtype), 0)
    run = tirx.For(step, zero, tirx.IntImm(str(index.ty.dtype), steps), tirx.ForKind.SERIAL, body)
    return tirx.For(worker, loop.min, tirx.IntImm(str(index.ty.dtype), workers), tirx.ForKind.PARALLEL, run)


def _enlarged(buffer: Buffer, count: int) -> Buffer:
    size = [_stride(buffer) * count]
    return tirx.decl_buffer(size, str(buffer.dtype), str(buffer.name), scope="global", layout=None)


def _stride(buffer: Buffer) -> int:
    """Elements from one worker's memory to the next one's, which shares no cache line with it."""
    return math.ceil(int(buffer.shape[0]) / _LINE_ELEMENTS) * _LINE_ELEMENTS


def _allocations(body: Stmt, *, at_root: bool = True) -> list[Stmt]:
    """The allocations of scope `global` in a statement; without those of its outermost sequence if not `at_root`."""
    found: list[Stmt] = []

    def note(each: Node) -> None:
        if each.buffer.scope() == "global":
            found.append(each)

    tvm_ffi.structural_walk(body, (tirx.AllocBuffer, note))
    if not at_root:
        outer = list(body.seq) if isinstance(body, tirx.SeqStmt) else [body]
        found = [each for each in found if not any(each.same_as(other) for other in outer)]
    return found

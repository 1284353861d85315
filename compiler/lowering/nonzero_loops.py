"""Loops over what constant weights hold besides zeros get the lengths that stand in memory.

    for step in range(the most there can be):         for step in range(starts[panel + 1] - starts[panel]):
        sums += ...                              ->       sums += ...

    parallel tile in range(tiles):                    parallel task in range(tasks):
        ...                                               for tile in range(first[task], first[task + 1]):
                                                              ...

TensorIR's schedules know constant lengths alone, so that the schedule of the sparse contraction marks its loops
(`NONZEROS`, `TASKS`), and this pass writes them. `first` and `starts` are one operand of the kernel, which the index of
the packed weights begins with: where the tasks begin, and behind that, where the panels do.
"""

from __future__ import annotations

import tvm_ffi
from tvm import tirx
from tvm.ir import TensorLoad

from ...annotations import NONZEROS, RHS, TASKS, operands, without
from ...ir_types import For, Load, PrimFunc, Scalar
from ...schedules.tensorir.expressions import int64
from ...schedules.tensorir.rebuild import found


def write_nonzero_loops(function: PrimFunc) -> PrimFunc:
    """The function with the lengths of marked loops read from memory."""

    def rewritten(loop: For) -> For:
        if NONZEROS.of(loop):
            return _over_nonzeros(loop)
        return loop if TASKS.of(loop) is None else _over_tasks(loop)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, rewritten), order="post"))


def _start(loop: For) -> Load:
    """The load of where a panel begins among the steps."""
    (packed,) = operands(loop.body, RHS)[:1]
    start: Load = found(packed, TensorLoad)[0]
    return start


def _element(start: Load, place: Scalar) -> Scalar:
    return tirx.BufferLoad(start.source, [place]).astype("int64")


def _over_nonzeros(loop: For) -> For:
    start = _start(loop)
    (place,) = start.indices
    length = _element(start, place + 1) - _element(start, place)
    return tirx.For(
        loop.loop_var, loop.min, length, loop.kind, loop.body, None, without(loop.annotations, NONZEROS), loop.step
    )


def _over_tasks(loop: For) -> For:
    start, task = _start(loop), tirx.Var("task", "int64")
    first = _element(start, task)
    tiles = tirx.For(loop.loop_var, first, _element(start, task + 1) - first, tirx.ForKind.SERIAL, loop.body)
    tasks = TASKS.of(loop)
    assert tasks is not None
    return tirx.For(task, int64(0), int64(tasks), loop.kind, tiles, None, without(loop.annotations, TASKS))

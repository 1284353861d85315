"""Elements of a contraction's first operand for several steps of k in one load; multiply-adds take them by their place.

A schedule marks a short loop over k with the elements that a load brings (`PLACES`). Its steps are written out here:

    for k in 8:                                       for row: a[row] = A[ramp(row * stride, 1, 4)]
        for row, vector:                          ->  for row, vector: C[row, vector] += a[row].0 * B[0]
            C[row, vector] += A[row, k] * B[k]        ...
                                                      for row: a[row] = A[ramp(row * stride + 4, 1, 4)]
                                                      for row, vector: C[row, vector] += a[row].0 * B[4]
                                                      ...

LLVM keeps `a` in registers. Where steps are left over, the last load ends with the last step, and so brings some
elements once more. Elements that do not stand side by side are loaded one by one, as they were. The order of sums stays
as it is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import tvm
import tvm_ffi
from tvm import tirx
from tvm.ir import Call, Op, TensorLoad

from ...annotations import LHS, PLACES, operands
from ...ir_types import Analyzer, Buffer, For, Load, Node, PrimFunc, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import mentions, substituted
from ...tensorir_statements import sequence

_DTYPE = "float32"


def load_operands_at_once(function: PrimFunc) -> PrimFunc:
    """Rewrites the marked loops of a function whose buffers are flat, and whose operands have their roles."""
    analyzer = tvm.sym.Analyzer()

    def visit(loop: For) -> Stmt:
        return _written_out(loop, analyzer) if PLACES.of(loop) else loop

    def bind(loop: For) -> None:
        analyzer.bind(loop.loop_var, tvm.ir.Range.from_min_extent(loop.min, loop.extent))

    tvm_ffi.structural_walk(function.body, (tirx.For, bind))
    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, visit)))


def _written_out(loop: For, analyzer: Analyzer) -> Stmt:
    steps, k, width = int(loop.extent), loop.loop_var, PLACES.of(loop)
    assert width is not None
    (load,) = operands(loop.body, LHS)
    rows = [each for each in _nest(loop.body) if mentions(load, [each.loop_var])]
    at_once = width > 1 and isinstance(load, TensorLoad) and _stands_side_by_side(load, k, steps, analyzer)
    written: list[Stmt] = []
    for begin in range(0, steps, width):
        own = range(begin, min(begin + width, steps))
        if not at_once:
            written += [_step(loop.body, k, number) for number in own]
            continue
        first = min(begin, steps - width)
        count = math.prod(int(each.extent) for each in rows)
        held = tirx.decl_buffer([tirx.IntImm("int32", count * width)], _DTYPE, "operand", scope="local")
        written += [tirx.AllocBuffer(held), *_loads(load, held, rows, k, range(first, first + width))]
        written += [_step(_taken(loop.body, held, rows, number - first, width), k, number) for number in own]
    return sequence(written)


def _nest(statement: Stmt) -> list[For]:
    """The loops around a statement, outermost first."""
    return [statement, *_nest(statement.body)] if isinstance(statement, tirx.For) else []


def _step(body: Stmt, k: Var, number: int) -> Stmt:
    """What a loop over k does in one of its steps."""
    return substituted(body, {k: tirx.IntImm(str(k.ty.dtype), number)})


def _taken(body: Stmt, held: Buffer, rows: Sequence[For], place: int, width: int) -> Stmt:
    """A step that takes its elements of the first operand from what is held, at one place of each row."""
    at: Scalar = tirx.IntImm("int32", 0)
    for row in rows:
        at = at * int(row.extent) + row.loop_var.astype("int32")
    element = tirx.BufferLoad(held, [at * width + place])

    def from_held(call: Call) -> Node:
        is_it = isinstance(call.op, Op) and str(call.op.name) == LHS
        return Call(call.op, [element], ret_ty=call.ty) if is_it else call

    return tvm_ffi.structural_map(body, (Call, from_held))


def _loads(load: Load, held: Buffer, rows: Sequence[For], k: Var, steps: range) -> list[Stmt]:
    """Loads what each row needs for some steps."""
    one, stores = tirx.IntImm("int32", 1), []
    for number, at in enumerate(itertools.product(*(range(int(row.extent)) for row in rows))):
        values = {
            row.loop_var: tirx.IntImm(str(row.loop_var.ty.dtype), each) for row, each in zip(rows, at, strict=True)
        }
        index = substituted(load.indices[0], {**values, k: tirx.IntImm(str(k.ty.dtype), steps.start)})
        whole = tirx.BufferLoad(load.source, [tirx.Ramp(index, tirx.IntImm(str(index.ty.dtype), 1), len(steps))])
        place = tirx.Ramp(tirx.IntImm("int32", number * len(steps)), one, len(steps))
        stores.append(tirx.BufferStore(held, whole, [place]))
    return stores


def _stands_side_by_side(load: Load, k: Var, steps: int, analyzer: Analyzer) -> bool:
    if str(load.source.dtype) != _DTYPE or len(load.indices) != 1:
        return False
    (index,) = load.indices
    first, *later = (substituted(index, {k: tirx.IntImm(str(k.ty.dtype), number)}) for number in range(steps))
    distances = (tirx.IntImm(str(index.ty.dtype), number) for number in range(1, steps))
    return all(analyzer.can_prove_equal(each - first, by) for each, by in zip(later, distances, strict=True))

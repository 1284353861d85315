"""What is done with a tile of C -> inside the loop over k of the next one, for units that work beside the vector unit.

Matrix instructions take long, and a processor looks ahead a few hundred of its own steps: at the end of a tile it would
wait for the last products, store them, compute the epilogue, and only then begin to load what the next tile needs. So
tiles are stored in two places in turn, and rows of the epilogue of one are computed between the products of the next:

    for panel, tile:                          for panel, tile:
        sums = 0                                  sums[number % 2] = 0
        for k:                                    for k:
            sums += ...                  ->           sums[number % 2] += ...
        for row:                                      if number > 0: some rows of epilogue(sums[(number - 1) % 2])
            epilogue(sums)                    for row:
                                                  epilogue(sums[last % 2])

where `number` counts tiles. A schedule marks the loop over tiles; loops around it that hold nothing else belong to the
nest, and of a parallel one the iterations that a worker does one after the other. Works on loops over flat buffers,
before `select_dots.py` puts instructions in them; without any they compute the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx

from ...annotations import OVERLAP, SUMS, TILES, UNIT, without
from ...ir_passes.core.buffers import with_buffers
from ...ir_types import Buffer, For, Node, PrimFunc, Scalar, Stmt, Var
from ...schedules.tensorir.rebuild import substituted, with_body
from ...tensorir_statements import flattened, sequence

# More rows of an epilogue than this between two steps of k are a loop.
_MAX_UNROLLED_ROWS = 4
_IN_ORDER = (tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED)


def overlap_epilogues(function: PrimFunc, workers: int) -> PrimFunc:
    """Rewrites the marked nests of a function whose buffers are flat.

    Args:
        workers: cores that share a parallel loop, at least 1; parallel loops are not nested.
    """
    found = False

    def rewritten(loop: For) -> Stmt:
        nonlocal found
        nest = _nest(loop)
        if not nest or OVERLAP.of(nest[-1]) is None:
            return loop
        found = True
        if loop.kind == tirx.ForKind.PARALLEL:
            worker = _run_of_worker(loop, workers)
            return with_body(worker, _woven(_nest(worker.body)))
        return _woven(nest)

    body = tvm_ffi.structural_map(function.body, (tirx.For, rewritten), order="pre")
    return _renamed(function.with_body(body)) if found else function


def _nest(loop: For) -> list[For]:
    """The loops from `loop` to the first that holds anything but a loop in order or is marked."""
    nest = [loop]
    while OVERLAP.of(nest[-1]) is None and isinstance(nest[-1].body, tirx.For) and nest[-1].body.kind in _IN_ORDER:
        nest.append(nest[-1].body)
    return nest


def _run_of_worker(loop: For, workers: int) -> Stmt:
    """A parallel loop over as many workers as there is work for, and in it one over a worker's run of iterations."""
    index, extent = loop.loop_var, int(loop.extent)
    workers = min(workers, extent)
    kind = str(index.ty.dtype)
    few, more = divmod(extent, workers)  # the first workers have one more each

    def number(value: int) -> Scalar:
        return tirx.IntImm(kind, value)

    worker, step = (tirx.Var(f"{index.name}_{part}", index.ty) for part in ("worker", "step"))
    count = tirx.Select(worker < more, number(few + 1), number(few)) if more else number(few)
    first = worker * few + tirx.min(worker, number(more)) if more else worker * few
    body = substituted(loop.body, {index: first + step})
    run = tirx.For(step, number(0), count, tirx.ForKind.SERIAL, body)
    return tirx.For(worker, number(0), number(workers), tirx.ForKind.PARALLEL, run)


@dataclass(frozen=True)
class _Tile:
    """What stands in the innermost loop of a nest, in order.

    Attributes:
        allocations: of the sums, and of what else there is.
        zero: sets the sums to zero.
        k: the loops over k, outermost first.
        step: inside of them.
        epilogue: what is done with the sums.
    """

    allocations: Sequence[Stmt]
    zero: Sequence[Stmt]
    k: Sequence[For]
    step: Stmt
    epilogue: Stmt

    @property
    def sums(self) -> Buffer:
        """The buffer of the sums."""
        stores: list[Stmt] = []
        tvm_ffi.structural_walk(self.step, (tirx.BufferStore, stores.append))
        return stores[0].buffer


def _tile(body: Stmt) -> _Tile:
    statements = flattened(body)
    allocations = [each for each in statements if isinstance(each, tirx.AllocBuffer)]
    rest = [each for each in statements if not isinstance(each, tirx.AllocBuffer)]
    at = next(number for number, each in enumerate(rest) if isinstance(each, tirx.For) and SUMS.of(each))
    k = [rest[at]]
    while isinstance(k[-1].body, tirx.For) and UNIT.of(k[-1].body) is None:
        k.append(k[-1].body)
    return _Tile(allocations, rest[:at], k, k[-1].body, sequence(rest[at + 1 :]))


def _woven(nest: Sequence[For]) -> Stmt:
    """The nest with the epilogue of a tile inside the loops over k of the next one, and that of the last behind it."""
    tile = _tile(nest[-1].body)
    sums = tile.sums
    size = int(sums.shape[0])
    both = tirx.decl_buffer([2 * size], str(sums.dtype), str(sums.name), scope=sums.scope())
    number = _count(nest)

    def using(statement: Stmt, half: Scalar) -> Stmt:
        def moved(_: Node, indices: Sequence[Scalar]) -> list[Scalar]:
            (at,) = indices
            return [tirx.Ramp(at.base + half, at.stride, at.lanes) if isinstance(at, tirx.Ramp) else at + half]

        return with_buffers(statement, {sums: both}, moved=moved)

    def epilogue_of(which: Scalar, statement: Stmt) -> Stmt:
        return using(substituted(statement, _iteration(nest, which)), which % 2 * size)

    # No tile is before the first: what its number would be does not matter.
    before = tirx.max(number - 1, tirx.IntImm(str(number.ty.dtype), 0))
    body = sequence(
        [using(tile.step, number % 2 * size), _some_rows(tile, number > 0, lambda rows: epilogue_of(before, rows))]
    )
    for loop in reversed(tile.k):
        body = with_body(loop, body)
    body = sequence([*(using(each, number % 2 * size) for each in tile.zero), body])
    for loop in reversed(nest):
        body = with_body(loop, body, annotations=without(loop.annotations, OVERLAP, TILES))
    # Registers are set up once for all tiles of the nest.
    body = with_body(body, body.body, annotations={**body.annotations, **TILES.entry()})
    last = nest[0].extent * math.prod(int(loop.extent) for loop in nest[1:]) - 1
    allocations = [tirx.AllocBuffer(both) if each.buffer.same_as(sums) else each for each in tile.allocations]
    return sequence([*allocations, body, epilogue_of(last, tile.epilogue)])


def _some_rows(tile: _Tile, condition: Scalar, moved: Callable[[Stmt], Stmt]) -> Stmt:
    """The rows of an epilogue that a step of k computes: as many in each, from the first step on."""
    rows = flattened(tile.epilogue)
    loop = rows[0] if len(rows) == 1 and isinstance(rows[0], tirx.For) and rows[0].kind in _IN_ORDER else None
    count = 1 if loop is None else int(loop.extent)
    steps = math.prod(int(each.extent) for each in tile.k)
    share = math.ceil(count / steps)
    step = _count(tile.k)
    kind = str(step.ty.dtype)
    if loop is None:
        return tirx.IfThenElse(tirx.all(condition, step.equal(0)), moved(tile.epilogue), None)
    inner = tirx.Var(loop.loop_var.name, loop.loop_var.ty)
    row = step * share + inner
    body = moved(substituted(loop.body, {loop.loop_var: row}))
    if share * steps > count:
        condition = tirx.all(condition, step * share < count) if count % share == 0 else condition
        body = body if count % share == 0 else tirx.IfThenElse(row < count, body, None)
    unrolled = tirx.ForKind.UNROLLED if share <= _MAX_UNROLLED_ROWS else tirx.ForKind.SERIAL
    part = tirx.For(inner, tirx.IntImm(kind, 0), tirx.IntImm(kind, share), unrolled, body)
    return tirx.IfThenElse(condition, part, None)


def _count(loops: Sequence[For]) -> Scalar:
    """Which iteration of a nest it is."""
    number = loops[0].loop_var
    for loop in loops[1:]:
        number = number * loop.extent + loop.loop_var
    return number


def _iteration(nest: Sequence[For], number: Scalar) -> Mapping[Var, Scalar]:
    """The variables of a nest in its iteration of that number."""
    values = {}
    for loop in reversed(nest[1:]):
        values[loop.loop_var] = number % loop.extent
        number = number // loop.extent
    return {**values, nest[0].loop_var: number}


def _renamed(function: PrimFunc) -> PrimFunc:
    """The function with variables of their own in what it now does in two places."""
    return tirx.transform.ConvertSSA()(tvm.IRModule({"main": function}))["main"]

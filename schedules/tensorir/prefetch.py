"""Prefetching weights: while a panel of B is used for tile after tile of rows, the next one comes from memory.

A panel comes from the L2 cache but for the first tile that reads it, which waits for memory. Hardware prefetchers are
a few lines ahead, not a panel. So the k loop of every tile is cut into chunks, and each chunk asks for one more cache
line of the next panel:

    for tile in tiles of rows:
        for chunk in k / steps:
            prefetch next panel, line tile * chunks + chunk
            for k in steps: ...

with `steps` such that by the last tile all of the panel was asked for. A schedule marks the two loops; what is inserted
depends on their variables alone, and is no access to memory in the eyes of the compiler.
"""

from __future__ import annotations

import math

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad
from tvm.s_tir import Schedule

from ...annotations import PREFETCH_CHUNKS, PREFETCH_TILES, RHS, operands, without
from .blocks import Loop
from .expressions import int64, unflatten
from .nodes import Buffer, Expr, For, Load, PrimFunc, Stmt, Var
from .rebuild import found, substituted, with_body

_LINE_ELEMENTS = 16  # float32 in a cache line of 64 bytes
# Fewer steps between two prefetches cost more than they bring: then the kernel waits for memory anyway.
_MIN_STEPS = 2
_READ, _INTO_L2, _DATA = 0, 2, 1  # arguments of LLVM's prefetch


def steps_between(tiles: int, depth: int, columns: int) -> int:
    """Steps of the innermost k loop, of extent `depth`, from one line of the next panel to the next.

    Args:
        tiles: of rows, each of which reads a whole panel.
        columns: of a panel, in elements.

    Returns:
        A divisor of `depth`; 0 where prefetching does not pay.
    """
    most = tiles * _LINE_ELEMENTS // columns
    steps = max((step for step in range(1, min(most, depth) + 1) if depth % step == 0), default=0)
    return steps if steps >= _MIN_STEPS else 0


def fewest_tiles(columns: int) -> int:
    """Tiles of rows that have to read a panel of so many columns for the next one to be there in time."""
    return math.ceil(_MIN_STEPS * columns / _LINE_ELEMENTS)


def mark(sch: Schedule, tiles: Loop, chunks: Loop) -> None:
    """Asks for prefetches in the loop over `chunks` of k inside the loop over `tiles` of rows."""
    sch.annotate(tiles, PREFETCH_TILES.name, 1)
    sch.annotate(chunks, PREFETCH_CHUNKS.name, 1)


def insert_prefetches(function: PrimFunc) -> PrimFunc:
    """Inserts what schedules have marked, for operands that are parameters of the function."""
    marked: list[For] = []

    def note(loop: For) -> None:
        if PREFETCH_CHUNKS.of(loop):
            marked.append(loop)

    tvm_ffi.structural_walk(function.body, (tirx.For, note))
    if not marked:
        return function
    parameters = list(function.params)

    def tiles_with_prefetches(tiles: For) -> For:
        if not PREFETCH_TILES.of(tiles):
            return tiles
        body = tvm_ffi.structural_map(tiles.body, (tirx.For, lambda loop: _with_prefetch(loop, tiles, parameters)))
        kept = without(tiles.annotations, PREFETCH_TILES)
        return with_body(tiles, body, annotations=kept)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, tiles_with_prefetches)))


def _with_prefetch(chunks: For, tiles: For, parameters: list[Buffer]) -> For:
    """The loop over chunks with a prefetch at the start of each; another loop as it is."""
    if not PREFETCH_CHUNKS.of(chunks):
        return chunks
    kept = without(chunks.annotations, PREFETCH_CHUNKS)
    load, values = _packed_operand(chunks.body)
    if not any(load.source.same_as(each) for each in parameters):
        return with_body(chunks, chunks.body, annotations=kept)
    line: Expr = tiles.loop_var
    for loop in _loops_around(chunks, tiles):
        line = line * loop.extent + loop.loop_var
    address = tirx.address_of(tirx.BufferLoad(load.source, _next_panel(load, values, chunks.body, line)))
    prefetch = tirx.call_intrin("void", "tirx.prefetch", address, _READ, _INTO_L2, _DATA)
    return with_body(chunks, tirx.SeqStmt([tirx.Evaluate(prefetch), chunks.body]), annotations=kept)


def _loops_around(chunks: For, tiles: For) -> list[For]:
    """The loops over k inside a tile, from the outermost to `chunks`."""
    around: list[For] = []

    def note(loop: For) -> None:
        if any(each.loop_var.same_as(chunks.loop_var) for each in found(loop, tirx.For)):
            around.append(loop)

    tvm_ffi.structural_walk(tiles.body, (tirx.For, note), order="pre")
    return around


def _packed_operand(body: Stmt) -> tuple[Load, dict[Var, Expr]]:
    """The read of the packed operand inside a tile, and the values of the block's variables there."""
    realize = found(body, s_tir.SBlockRealize)[0]
    block = realize.block
    values = {var.var: value for var, value in zip(block.iter_vars, realize.iter_values, strict=True)}
    (packed,) = operands(block.body, RHS)
    return found(packed, TensorLoad)[0], values


def _next_panel(load: Load, values: dict[Var, Expr], body: Stmt, line: Expr) -> list[Expr]:
    """The index of a cache line of the panel after the one that `load` reads."""
    batches, panels, *inner = (int(extent) for extent in load.source.ty.shape)
    inside = [loop.loop_var for loop in found(body, tirx.For)]

    def at_start(index: Expr) -> Expr:
        """An index of the block where all loops inside `body` begin."""
        outside = substituted(index, values)
        return substituted(outside, dict.fromkeys(inside, int64(0)))

    batch, panel = (at_start(index) for index in list(load.indices)[:2])
    following = tirx.min(batch * panels + panel + 1, int64(batches * panels - 1))
    position = tirx.min(line * _LINE_ELEMENTS, int64(math.prod(inner) - 1))
    return [*unflatten(following, (batches, panels)), *unflatten(position, inner)]

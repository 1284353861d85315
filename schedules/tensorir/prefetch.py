"""Prefetching weights: while a panel of B is used for tile after tile of rows, the next one comes from memory.

A panel comes from the L2 cache but for the first tile that reads it, which waits for memory. Hardware prefetchers are
a few lines ahead, not a panel. So the k loop of every tile is cut into chunks, and each chunk asks for its share of
the next panel's cache lines:

    for tile in tiles of rows:
        for chunk in k / steps:
            prefetch next panel, from line (tile * chunks + chunk) * lines on, so many lines
            for k in steps: ...

with `steps` and `lines` such that by the last tile all of the panel was asked for. Where a single tile reads a panel,
a panel is too far ahead: what it reads a little later is asked for then. A schedule marks the two loops; what is
inserted depends on their variables alone, and is no access to memory in the eyes of the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tvm_ffi
from tvm import s_tir, tirx
from tvm.ir import TensorLoad
from tvm.s_tir import Schedule

from ...annotations import PREFETCH_CHUNKS, PREFETCH_TILES, RHS, operands, without
from ...ir_types import Buffer, For, Load, PrimFunc, Scalar, Stmt, Var
from ...targets.target import FLOAT32_BITS
from .blocks import Loop
from .expressions import dtype_bits, int64, unflatten
from .rebuild import found, substituted, with_body

_FLOAT_BYTES = FLOAT32_BITS // 8
# How far ahead of a single tile lines are asked for: further, and they are gone again when it comes there.
_STREAM_BYTES = 16 << 10
# Fewer steps between two prefetches cost more than they bring: then the kernel waits for memory anyway.
_MIN_STEPS = 2
_READ, _INTO_L2, _DATA = 0, 2, 1  # arguments of LLVM's prefetch


def steps_between(tiles: int, depth: int, columns: int, line_bytes: int) -> int:
    """Steps of the innermost k loop, of extent `depth`, from one line of the next panel to the next.

    Args:
        tiles: of rows, each of which reads a whole panel.
        columns: of a panel, of 32 bits each a step.
        line_bytes: of a cache line.

    Returns:
        A divisor of `depth`; 0 where prefetching does not pay.
    """
    most = tiles * (line_bytes // _FLOAT_BYTES) // columns
    steps = max((step for step in range(1, min(most, depth) + 1) if depth % step == 0), default=0)
    return steps if steps >= _MIN_STEPS else 0


def fewest_tiles(columns: int, line_bytes: int) -> int:
    """Tiles of rows that have to read a panel of so many columns for the next one to be there in time."""
    return math.ceil(_MIN_STEPS * columns / (line_bytes // _FLOAT_BYTES))


def lines_a_step(tiles: int, steps: int, step_bytes: int, line_bytes: int) -> int:
    """Lines of the next panel that each of so many steps of k, which reads so much of B, asks for in each tile."""
    return math.ceil(steps * step_bytes / line_bytes / (tiles * steps))


def bytes_ahead(tiles: int, panel_bytes: int) -> int:
    """How far ahead lines are asked for where so many tiles of rows read a panel."""
    return panel_bytes if tiles > 1 else min(panel_bytes, _STREAM_BYTES)


def mark(sch: Schedule, tiles: Loop, chunks: Loop, *, lines: int = 1, ahead: int = 0) -> None:
    """Asks for prefetches in the loop over `chunks` of k inside the loop over `tiles` of rows.

    Args:
        lines: that each chunk asks for.
        ahead: bytes from a line of the panel to the one that is asked for; 0 for a line of the next panel alone.
    """
    sch.annotate(tiles, PREFETCH_TILES.name, ahead)
    sch.annotate(chunks, PREFETCH_CHUNKS.name, lines)


def insert_prefetches(function: PrimFunc, line_bytes: int) -> PrimFunc:
    """Inserts what schedules have marked, for operands that are parameters of the function.

    Args:
        line_bytes: of a cache line.
    """
    marked: list[For] = []

    def note(loop: For) -> None:
        if PREFETCH_CHUNKS.of(loop):
            marked.append(loop)

    tvm_ffi.structural_walk(function.body, (tirx.For, note))
    if not marked:
        return function
    parameters = list(function.params)

    def tiles_with_prefetches(tiles: For) -> For:
        if PREFETCH_TILES.of(tiles) is None:
            return tiles
        body = tvm_ffi.structural_map(
            tiles.body, (tirx.For, lambda loop: _with_prefetch(loop, tiles, parameters, line_bytes))
        )
        kept = without(tiles.annotations, PREFETCH_TILES)
        return with_body(tiles, body, annotations=kept)

    return function.with_body(tvm_ffi.structural_map(function.body, (tirx.For, tiles_with_prefetches)))


def _with_prefetch(chunks: For, tiles: For, parameters: list[Buffer], line_bytes: int) -> For:
    """The loop over chunks with prefetches at the start of each; another loop as it is."""
    lines, ahead = PREFETCH_CHUNKS.of(chunks), PREFETCH_TILES.of(tiles)
    if lines is None or ahead is None:
        return chunks
    kept = without(chunks.annotations, PREFETCH_CHUNKS)
    load, values = _packed_operand(chunks.body)
    if not any(load.source.same_as(each) for each in parameters):
        return with_body(chunks, chunks.body, annotations=kept)
    around = _loops_around(chunks, tiles)
    panel = _panel_of(load, values, chunks.body)
    if ahead:
        indices = _stream(load, panel, tiles.loop_var, around, lines, ahead, line_bytes)
    else:
        indices = [_next_panel(load, panel, _number([tiles, *around]), line_bytes)]
    return with_body(chunks, tirx.SeqStmt([*(_prefetch(load, at) for at in indices), chunks.body]), annotations=kept)


def _number(loops: Sequence[For]) -> Scalar:
    """Which iteration of a nest it is."""
    number: Scalar = loops[0].loop_var
    for loop in loops[1:]:
        number = number * loop.extent + loop.loop_var
    return number


def _prefetch(load: Load, index: list[Scalar]) -> Stmt:
    address = tirx.address_of(tirx.BufferLoad(load.source, index))
    return tirx.Evaluate(tirx.call_intrin("void", "tirx.prefetch", address, _READ, _INTO_L2, _DATA))


def _loops_around(chunks: For, tiles: For) -> list[For]:
    """The loops over k inside a tile, from the outermost to `chunks`."""
    around: list[For] = []

    def note(loop: For) -> None:
        if any(each.loop_var.same_as(chunks.loop_var) for each in found(loop, tirx.For)):
            around.append(loop)

    tvm_ffi.structural_walk(tiles.body, (tirx.For, note), order="pre")
    return around


def _packed_operand(body: Stmt) -> tuple[Load, dict[Var, Scalar]]:
    """The read of the packed operand inside a tile, and the values of the block's variables there."""
    realize = found(body, s_tir.SBlockRealize)[0]
    block = realize.block
    values = {var.var: value for var, value in zip(block.iter_vars, realize.iter_values, strict=True)}
    (packed,) = operands(block.body, RHS)
    return found(packed, TensorLoad)[0], values


def _panel_of(load: Load, values: dict[Var, Scalar], body: Stmt) -> tuple[Scalar, Scalar]:
    """The batch and the panel that a load reads, where all loops inside `body` begin."""
    inside = [loop.loop_var for loop in found(body, tirx.For)]

    def at_start(index: Scalar) -> Scalar:
        outside = substituted(index, values)
        return substituted(outside, dict.fromkeys(inside, int64(0)))

    batch, panel = (at_start(index) for index in list(load.indices)[:2])
    return batch, panel


def _next_panel(load: Load, panel: tuple[Scalar, Scalar], line: Scalar, line_bytes: int) -> list[Scalar]:
    """The index of a cache line of the panel after `panel`."""
    batches, panels, *inner = (int(extent) for extent in load.source.ty.shape)
    following = tirx.min(panel[0] * panels + panel[1] + 1, int64(batches * panels - 1))
    position = tirx.min(line * (line_bytes // _FLOAT_BYTES), int64(math.prod(inner) - 1))
    return [*unflatten(following, (batches, panels)), *unflatten(position, inner)]


def _stream(
    load: Load,
    panel: tuple[Scalar, Scalar],
    tile: Var,
    around: Sequence[For],
    lines: int,
    ahead: int,
    line_bytes: int,
) -> list[list[Scalar]]:
    """The indices of a share of so many lines, so many bytes behind those of `panel`; in the last one none behind.

    They run from one panel to the next: of an index the last axis alone counts. They depend on the loops `around` by a
    multiple, so that a step adds a constant to an address: where all that is left of a panel is less than the loops ask
    for, they begin earlier.
    """
    batches, panels, *inner = shape = [int(extent) for extent in load.source.ty.shape]
    element, size = dtype_bits(str(load.source.dtype)) // 8, math.prod(inner)
    width = line_bytes // element
    share = lines * width
    of_tile = share * math.prod(int(loop.extent) for loop in around)
    position = tirx.min(tile * of_tile, int64(max(0, size - of_tile))) + _number(around) * share
    if of_tile > size:
        position = tirx.min(position, int64(size - share))
    number = panel[0] * panels + panel[1]
    first = number * size + tirx.Select(number < batches * panels - 1, int64(ahead // element), int64(0)) + position
    outer = [int64(0)] * (len(shape) - 1)
    return [[*outer, first + each * width if each else first] for each in range(lines)]

"""Loops over what is not zero read their lengths, and where tasks begin, from memory."""

from __future__ import annotations

from typing import Any

import tvm
from tilewright.annotations import NONZEROS, RHS, TASKS, operand
from tilewright.compiler.lowering.nonzero_loops import write_nonzero_loops
from tvm import tirx

TILES, MOST, COUNT = 6, 9, 3  # of COUNT tasks, whose beginnings stand before those of the tiles


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def kernel(*, marked: bool) -> Any:
    """out[tile] += values[start of the tile + step]; not marked, as it is to become."""
    values = tirx.decl_buffer([100], "float32", "values")
    starts = tirx.decl_buffer([COUNT + 1 + TILES + 1], "int32", "starts")
    out = tirx.decl_buffer([TILES], "float32", "out")
    task, tile, step = (tirx.Var(name, "int64") for name in ("task", "tile", "step"))

    def start(place: Any) -> Any:
        return tirx.BufferLoad(starts, [place]).astype("int64")

    first = tile + (COUNT + 1)
    value = operand(RHS, tirx.BufferLoad(values, [start(first) + step]))
    body = tirx.BufferStore(out, tirx.BufferLoad(out, [tile]) + value, [tile])
    serial, parallel = tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL
    if marked:
        steps = tirx.For(step, number(0), number(MOST), serial, body, annotations=NONZEROS.entry())
        tiles = tirx.For(tile, number(0), number(TILES), parallel, steps, annotations=TASKS.entry(COUNT))
        return tirx.PrimFunc([values, starts, out], tiles)
    steps = tirx.For(step, number(0), start(first + 1) - start(first), serial, body)
    tiles = tirx.For(tile, start(task), start(task + 1) - start(task), serial, steps)
    return tirx.PrimFunc([values, starts, out], tirx.For(task, number(0), number(COUNT), parallel, tiles))


def test_lengths_are_read() -> None:
    tvm.ir.assert_structural_equal(write_nonzero_loops(kernel(marked=True)), kernel(marked=False), map_free_vars=True)


def test_loops_that_are_not_marked_stay() -> None:
    plain = kernel(marked=False)

    tvm.ir.assert_structural_equal(write_nonzero_loops(plain), plain, map_free_vars=True)

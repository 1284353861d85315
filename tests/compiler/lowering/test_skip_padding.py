"""Loops over offsets of a filter leave out what meets padding alone."""

from __future__ import annotations

from typing import Any

import tvm
from tilewright.annotations import INSIDE, LHS, operand
from tilewright.compiler.lowering.skip_padding import skip_padding
from tvm import tirx

LINES, PIXELS, ROWS, BEFORE, AFTER = 6, 8, 4, 3, 9  # of an image with padding: 3 before, 6 of the image, 3 after


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def loop(variable: Any, extent: int, body: Any, annotations: Any = None) -> Any:
    return tirx.For(variable, number(0), number(extent), tirx.ForKind.SERIAL, body, annotations=annotations)


def tiles(*, marked: bool, rows: int, guard: Any = None) -> Any:
    """out[tile, row] += image[line + 3 * dy, pixel] for tiles of so many pixels."""
    image = tirx.decl_buffer([1, 12, PIXELS, 1], "float32", "image")
    out = tirx.decl_buffer([LINES * PIXELS // rows, rows], "float32", "out")
    tile, row, dy = (tirx.Var(name, "int64") for name in ("tile", "row", "dy"))
    pixel = tile * rows + row
    at = [number(0), tirx.FloorDiv(pixel, number(PIXELS)) + dy * 3, tirx.FloorMod(pixel, number(PIXELS)), number(0)]
    value = operand(LHS, tirx.BufferLoad(image, at))
    body = loop(row, rows, tirx.BufferStore(out, tirx.BufferLoad(out, [tile, row]) + value, [tile, row]))
    if guard is not None:
        body = tirx.IfThenElse(guard(tile, dy), body, None)
    offsets = loop(dy, 3, body, INSIDE.entry([number(each) for each in (1, BEFORE, LINES)]) if marked else {})
    return tirx.PrimFunc([image, out], loop(tile, LINES * PIXELS // rows, offsets))


def same(one: Any, other: Any) -> None:
    simplify = tirx.transform.StmtSimplify()
    tvm.ir.assert_structural_equal(
        *(simplify(tvm.IRModule({"main": each})) for each in (one, other)), map_free_vars=True
    )


def test_a_tile_within_a_line() -> None:
    def guard(tile: Any, dy: Any) -> Any:
        line = tirx.FloorDiv(tile, number(2)) + dy * 3
        return tirx.And(line >= BEFORE, line < BEFORE + LINES)

    same(skip_padding(tiles(marked=True, rows=ROWS)), tiles(marked=False, rows=ROWS, guard=guard))


def test_a_tile_of_several_lines_leaves_out_what_all_of_them_do() -> None:
    def guard(tile: Any, dy: Any) -> Any:
        return tirx.And(tile * 2 + 1 + dy * 3 >= BEFORE, tile * 2 + dy * 3 < BEFORE + LINES)

    same(skip_padding(tiles(marked=True, rows=2 * PIXELS)), tiles(marked=False, rows=2 * PIXELS, guard=guard))


def test_loops_that_are_not_marked_stay() -> None:
    plain = tiles(marked=False, rows=ROWS)
    same(skip_padding(plain), plain)

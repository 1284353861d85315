"""A tile that is there throughout has no conditions on its pixels, and what says so is never said of another."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
import tvm_ffi
from tilewright.compiler.lowering.whole_tiles import split_whole_tiles
from tilewright.schedules.tensorir.rebuild import found, substituted
from tvm import tirx

LINES, LINE, TILE = 5, 7, 3  # an image, and pixels that are computed together
UNROLLED, SERIAL = tirx.ForKind.UNROLLED, tirx.ForKind.SERIAL


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def loop(variable: Any, extent: int, body: Any, kind: Any = SERIAL) -> Any:
    return tirx.For(variable, number(0), number(extent), kind, body)


X, OUT = (tirx.decl_buffer([64], "float32", name) for name in ("x", "out"))
HEIGHT, WIDTH = (tirx.decl_buffer([], "int64", name) for name in ("height", "width"))
AT, PIXEL, J = (tirx.Var(name, "int64") for name in "tij")


def masked(place: Any) -> Any:
    """Of a place in an image whose lines follow each other: 0 where there is no pixel."""
    line, column = tirx.floordiv(place, number(LINE)), tirx.floormod(place, number(LINE))
    inside = tirx.all(line < tirx.BufferLoad(HEIGHT, []), column < tirx.BufferLoad(WIDTH, []))
    return tirx.BufferStore(OUT, tirx.Select(inside, tirx.BufferLoad(X, [place]), tirx.const(0, "float32")), [place])


def function(body: Any) -> Any:
    return tirx.PrimFunc([X, HEIGHT, WIDTH, OUT], body)


def value(condition: Any, height: int, width: int, tile: int) -> bool:
    sizes = {HEIGHT: height, WIDTH: width}

    def known(load: Any) -> Any:
        return number(sizes[load.source])

    place = tvm_ffi.structural_map(substituted(condition, {AT: number(tile)}), (tvm.ir.TensorLoad, known), order="post")
    return bool(int(tvm.sym.Analyzer().simplify(place)))


def test_a_tile_is_whole_where_all_of_its_pixels_are() -> None:
    tiles = loop(AT, LINES * LINE // TILE, loop(PIXEL, TILE, masked(AT * TILE + PIXEL), UNROLLED))
    split = split_whole_tiles(function(tiles)).body.body
    assert isinstance(split, tirx.IfThenElse)
    assert not found(split.then_case, tirx.Select) and len(found(split.else_case, tirx.Select)) == 1
    variables = [each.loop_var for each in found(split, tirx.For)]
    assert len({str(id(each)) for each in variables}) == 2  # no two loops share one
    for height in range(LINES + 1):
        for width in range(LINE + 1):
            for tile in range(LINES * LINE // TILE):
                pixels = [divmod(tile * TILE + each, LINE) for each in range(TILE)]
                one_line = len({line for line, _ in pixels}) == 1
                there = all(line < height and column < width for line, column in pixels)
                assert value(split.condition, height, width, tile) == (there and one_line)


def test_loops_in_loops_are_one_tile() -> None:
    place = AT * 8 + PIXEL * 4 + J
    tiles = loop(AT, 8, loop(PIXEL, 2, loop(J, 4, masked(place), UNROLLED), UNROLLED))
    split = split_whole_tiles(function(tiles)).body.body
    assert isinstance(split, tirx.IfThenElse) and len(found(split, tirx.IfThenElse)) == 1


@pytest.mark.parametrize("which", ["a loop that is none of a tile", "places that go back", "no sizes", "a table"])
def test_what_stays(which: str) -> None:
    places = {"places that go back": AT * TILE - PIXEL, "a table": tirx.floormod(PIXEL * PIXEL, number(5)) + AT}
    body = masked(places.get(which, AT * TILE + PIXEL))
    if which == "no sizes":
        body = tirx.BufferStore(
            OUT, tirx.Select(PIXEL < AT, tirx.const(1, "float32"), tirx.const(0, "float32")), [PIXEL]
        )
    kernel = function(loop(AT, 8, loop(PIXEL, TILE, body, SERIAL if which.startswith("a loop") else UNROLLED)))
    tvm.ir.assert_structural_equal(split_whole_tiles(kernel), kernel)

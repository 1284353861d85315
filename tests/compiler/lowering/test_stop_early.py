"""Loops stop where what is there of a result ends, and do nothing that somebody else needs the less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
import tvm_ffi
from tilewright.annotations import STOPS
from tilewright.compiler.lowering.line_loops import bound_loops
from tilewright.compiler.lowering.stop_early import stop_early
from tilewright.schedules.tensorir.rebuild import found, substituted
from tvm import tirx
from tvm.ir import TensorLoad

SERIAL, PARALLEL = tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL
BOUND, PIXELS = 6, 8  # images, and pixels of each


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def loop(variable: Any, extent: Any, body: Any, kind: Any = SERIAL) -> Any:
    extent = number(extent) if isinstance(extent, int) else extent
    return tirx.For(variable, number(0), extent, kind, body)


X = tirx.decl_buffer([BOUND, PIXELS], "float32", "x")
OUT = tirx.decl_buffer([BOUND * PIXELS], "float32", "out")
STAGE = tirx.decl_buffer([BOUND, PIXELS + 2], "float32", "stage")
SIZE, MASK = (tirx.decl_buffer([], "int64", name) for name in ("size", "mask"))
ROW, J, K = (tirx.Var(name, "int64") for name in "ijk")


OF_X, OF_OUT = (0, 0, 0, 1, 0, 1), (2, 0, 0, PIXELS, 0, 1)  # parameter, axis, begin, step, bound, size


def function(*statements: Any, rows: Any = (OF_X, OF_OUT)) -> Any:
    body = statements[0] if len(statements) == 1 else tirx.SeqStmt(list(statements))
    return STOPS.on(tirx.PrimFunc([X, SIZE, OUT], body), [number for row in rows for number in row])


def write(place: Any, value: Any) -> Any:
    return tirx.BufferStore(OUT, value, [place])


def same(one: Any, other: Any) -> None:
    simplify = tirx.transform.StmtSimplify()
    tvm.ir.assert_structural_equal(
        *(simplify(tvm.IRModule({"main": each})) for each in (one, other)), map_free_vars=True
    )


@pytest.mark.parametrize("kind", [SERIAL, PARALLEL])
def test_a_loop_over_tiles_is_shorter(kind: Any) -> None:
    def tiles(extent: Any) -> Any:
        place = ROW * 4 + J
        value = tirx.BufferLoad(X, [tirx.FloorDiv(place, number(PIXELS)), tirx.FloorMod(place, number(PIXELS))])
        return function(loop(ROW, extent, loop(J, 4, write(place, value)), kind))

    tiles_of_size = tirx.floordiv(tirx.BufferLoad(SIZE, []) * number(PIXELS) + number(3), number(4))
    same(stop_early(tiles(BOUND * PIXELS // 4)), tiles(tirx.min(number(BOUND * PIXELS // 4), tiles_of_size)))


def lines_of_tiles(tile: int, rows: Any) -> Any:
    """Work on each pixel of `OUT`, tile by tile; lines are of so many pixels, of which so many are there."""
    place = ROW * tile + J
    indices = [tirx.FloorDiv(place, number(PIXELS)), tirx.FloorMod(place, number(PIXELS))]
    guarded = tirx.IfThenElse(place < number(BOUND * PIXELS), write(place, tirx.BufferLoad(X, indices)), None)
    return function(loop(ROW, -(-BOUND * PIXELS // tile), loop(K, 1, loop(J, tile, guarded))), rows=rows)


@pytest.mark.parametrize("tile", [2, 3, 5, 11])
def test_tiles_of_lines_are_those_that_have_something_of_what_is_there(tile: int) -> None:
    """Each once, also where a tile ends one line and begins the next, or more is asked for than there is room."""
    shorter = bound_loops(stop_early(lines_of_tiles(tile, [(2, 0, 0, 1, PIXELS, 1)])))
    kernel = tvm.compile(tvm.IRModule({"kernel": shorter.with_attr("global_symbol", "kernel")}), target="llvm")[
        "kernel"
    ]
    x = np.arange(1, BOUND * PIXELS + 1, dtype=np.float32).reshape(BOUND, PIXELS)
    for size in (1, 3, 7, 8, 9):
        out = tvm.runtime.tensor(np.zeros(x.size, np.float32))
        kernel(tvm.runtime.tensor(x), tvm.runtime.tensor(np.asarray(size, np.int64)), out)

        tiles = [range(begin, begin + tile) for begin in range(0, x.size, tile)]  # the last one as if lines went on
        needed = [place for each in tiles if any(place % PIXELS < size for place in each) for place in each]
        np.testing.assert_array_equal(np.flatnonzero(out.numpy()), [place for place in needed if place < x.size])


def test_of_a_stage_is_made_what_its_reader_reads() -> None:
    """Four elements a turn: those of turns that write nothing are not made."""
    stage = tirx.decl_buffer([PIXELS], "float32", "parts")
    made = loop(J, PIXELS, loop(K, 2, tirx.BufferStore(stage, tirx.BufferLoad(X, [number(0), J]), [J])))
    read = tirx.BufferLoad(stage, [ROW * 4 + K])
    used = loop(ROW, PIXELS // 4, loop(K, 4, write(ROW, read)))
    kernel = function(tirx.AllocBuffer(stage), made, used, rows=[(2, 0, 0, 1, 0, 1)])

    _, first, second = stop_early(kernel).body.seq

    end = tirx.BufferLoad(SIZE, [])
    same(
        tirx.PrimFunc([X, SIZE, OUT], second),
        tirx.PrimFunc([X, SIZE, OUT], loop(ROW, tirx.min(number(2), end), used.body)),
    )
    assert "size" in str(first.extent) and "* T.int64(4)" in str(first.extent)


def test_a_padding_leaves_out_what_reads_nothing_before_the_end() -> None:
    inside = tirx.all(J >= 1, J < PIXELS + 1)
    value = tirx.if_then_else(inside, tirx.BufferLoad(X, [ROW, J - 1]), tirx.const(0, "float32"))
    pad = loop(ROW, BOUND, loop(J, PIXELS + 2, tirx.BufferStore(STAGE, value, [ROW, J])))
    use = loop(K, BOUND * PIXELS, write(K, tirx.BufferLoad(STAGE, [tirx.FloorDiv(K, number(PIXELS)), number(0)])))
    first, second = stop_early(function(pad, use)).body.seq
    assert "size" in str(first.extent) and "size" in str(second.extent)


def test_masked_operands_are_read_throughout() -> None:
    given = function(
        loop(ROW, BOUND, tirx.BufferStore(STAGE, tirx.BufferLoad(X, [ROW, number(0)]), [ROW, number(0)])),
        rows=(OF_OUT,),
    )
    same(stop_early(given), given)


def test_what_another_loop_reads_of_a_result_s_loop_is_computed() -> None:
    total = tirx.BufferStore(STAGE, tirx.BufferLoad(X, [number(0), number(0)]), [ROW, number(0)])
    first = loop(ROW, BOUND, tirx.SeqStmt([total, write(ROW * PIXELS, tirx.const(1, "float32"))]))
    second = loop(J, BOUND, write(J * PIXELS + 1, tirx.BufferLoad(STAGE, [number(BOUND - 1), number(0)])))
    kept, shorter = stop_early(function(first, second)).body.seq
    same(tirx.PrimFunc([X, SIZE, OUT], kept), tirx.PrimFunc([X, SIZE, OUT], first))
    assert "size" in str(shorter.extent)


def test_kernels_without_the_mark_stay() -> None:
    plain = tirx.PrimFunc([X, SIZE, OUT], loop(ROW, BOUND, write(ROW * PIXELS, tirx.const(0, "float32"))))
    assert stop_early(plain).same_as(plain)


def test_a_sum_of_what_is_there_reads_no_more() -> None:
    """The mask makes 0 of the rest, which changes no sum."""
    inside = tirx.BufferLoad(MASK, []) > J
    term = tirx.Select(inside, tirx.BufferLoad(X, [number(0), J]), tirx.const(0, "float32"))
    add = tirx.BufferStore(STAGE, tirx.BufferLoad(STAGE, [number(0), number(0)]) + term, [number(0), number(0)])
    show = write(number(0), tirx.BufferLoad(STAGE, [number(0), number(0)]))
    body = tirx.SeqStmt([loop(J, PIXELS, add), show])
    kernel = STOPS.on(tirx.PrimFunc([X, SIZE, MASK, OUT], body), [0, 1, 0, 1, 0, 1])
    shorter = stop_early(kernel).body.seq[0]
    assert "size" in str(shorter.extent)


def holds(condition: Any, sizes: Any, values: Any) -> bool:
    """Whether a condition does, with these numbers in buffers and for variables."""
    known = tvm_ffi.structural_map(condition, (TensorLoad, lambda load: sizes[load.source]))
    return bool(tvm.sym.Analyzer().simplify(substituted(known, values)))


@pytest.mark.parametrize("tile", [2, 3, 5])
def test_sums_that_are_masked_are_not_computed(tile: int) -> None:
    """Of each tile that has something of what is there, all; of the others, 0 alone is written."""
    place = ROW * tile + J
    sums = tirx.decl_buffer([tile], "float32", "sums", scope="local")
    clear = loop(J, tile, tirx.BufferStore(sums, tirx.const(0, "float32"), [J]))
    column = tirx.FloorMod(place, number(PIXELS))
    taken = tirx.BufferLoad(X, [tirx.FloorDiv(place, number(PIXELS)), column])
    add = loop(K, 3, loop(J, tile, tirx.BufferStore(sums, tirx.BufferLoad(sums, [J]) + taken, [J])))
    is_there = column < tirx.BufferLoad(MASK, [])
    seen = tirx.Select(is_there, tirx.BufferLoad(sums, [J]), tirx.const(-1, "float32"))
    show = loop(J, tile, tirx.IfThenElse(place < number(BOUND * PIXELS), write(place, seen), None))
    body = loop(ROW, -(-BOUND * PIXELS // tile), tirx.SeqStmt([tirx.AllocBuffer(sums), clear, add, show]))
    kernel = stop_early(STOPS.on(tirx.PrimFunc([X, SIZE, MASK, OUT], body), []))

    added = next(each for each in found(kernel.body, tirx.IfThenElse) if found(each, tirx.For))
    same(*(tirx.PrimFunc([X, SIZE, MASK, OUT], each) for each in (added.then_case, add)))
    for size in range(1, PIXELS + 2):
        for begin in range(0, BOUND * PIXELS, tile):
            inside = any((begin + j) % PIXELS < size for j in range(tile))
            assert holds(added.condition, {MASK: number(size)}, {ROW: number(begin // tile)}) == inside


def test_sums_that_somebody_else_reads_are_computed() -> None:
    sums = tirx.decl_buffer([1], "float32", "sums")
    zero, load = number(0), tirx.BufferLoad(X, [ROW, K])
    add = loop(K, PIXELS, tirx.BufferStore(sums, tirx.BufferLoad(sums, [zero]) + load, [zero]))
    is_there = tirx.BufferLoad(MASK, []) > ROW
    seen = write(ROW, tirx.Select(is_there, tirx.BufferLoad(sums, [zero]), tirx.const(0, "float32")))
    also = write(ROW + BOUND, tirx.BufferLoad(sums, [zero]))
    for readers, skips in (([seen], True), ([seen, also], False)):
        body = loop(ROW, BOUND, tirx.SeqStmt([tirx.AllocBuffer(sums), add, *readers]))
        kernel = stop_early(STOPS.on(tirx.PrimFunc([X, SIZE, MASK, OUT], body), []))
        assert bool(found(kernel.body, tirx.IfThenElse)) == skips

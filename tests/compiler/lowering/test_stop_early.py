"""Loops stop where what is there of a result ends, and do nothing that somebody else needs the less."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tilewright.annotations import STOPS
from tilewright.compiler.lowering.stop_early import stop_early
from tvm import tirx

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


def test_tiles_of_lines_are_left_out_unless_they_go_on_in_the_next_line() -> None:
    def tiles(guarded: bool) -> Any:
        place = ROW * 3 + J
        indices = [tirx.FloorDiv(place, number(PIXELS)), tirx.FloorMod(place, number(PIXELS))]
        inner = loop(K, 4, loop(J, 3, write(place, tirx.BufferLoad(X, indices))))
        begin = tirx.floormod(ROW * 3, number(PIXELS))
        if guarded:
            needed = tirx.any(begin < tirx.BufferLoad(SIZE, []), begin >= number(PIXELS - 2))
            inner = tirx.IfThenElse(needed, inner, None)
        return function(loop(ROW, 16, inner), rows=[(2, 0, 0, 1, PIXELS, 1)])

    same(stop_early(tiles(guarded=False)), tiles(guarded=True))


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

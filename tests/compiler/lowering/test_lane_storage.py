"""Buffers inside vectorized loops: an element a lane, before the loop."""

from __future__ import annotations

from typing import Any

import tvm
from tilewright.compiler.lowering.lane_storage import give_lanes_storage
from tvm import tirx

LANES = 8


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def sums(kind: Any, *, before: bool) -> Any:
    """y[lane] = 0.0 + x[lane] by way of a buffer of two elements a lane: the one before the pass, or after it."""
    x, y = (tirx.decl_buffer([number(LANES)], "float32", name) for name in "xy")
    total = tirx.decl_buffer([number(2 if before else 2 * LANES)], "float32", "total", scope="local")
    lane = tirx.Var("lane", "int64")

    def at(place: int) -> list[Any]:
        return [number(place) if before else number(place) * LANES + lane]

    stores = [
        tirx.BufferStore(total, tirx.const(0.0, "float32"), at(1)),
        tirx.BufferStore(total, tirx.BufferLoad(total, at(1)) + tirx.BufferLoad(x, [lane]), at(0)),
        tirx.BufferStore(y, tirx.BufferLoad(total, at(0)), [lane]),
    ]
    body = tirx.SeqStmt([tirx.AllocBuffer(total), *stores] if before else stores)
    loop = tirx.For(lane, number(0), number(LANES), kind, body)
    return tirx.PrimFunc([x, y], loop if before else tirx.SeqStmt([tirx.AllocBuffer(total), loop]))


def test_every_lane_has_its_own() -> None:
    vectorized = tirx.ForKind.VECTORIZED
    after = give_lanes_storage(sums(vectorized, before=True))
    tvm.ir.assert_structural_equal(after, sums(vectorized, before=False))


def test_other_loops_stay() -> None:
    serial = sums(tirx.ForKind.SERIAL, before=True)
    tvm.ir.assert_structural_equal(give_lanes_storage(serial), serial)

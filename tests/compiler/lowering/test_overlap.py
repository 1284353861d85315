"""The epilogue of a tile in the loop over k of the next one: order, places of the sums, and runs of workers."""

from __future__ import annotations

from typing import Any

import pytest
import tvm_ffi
from hypothesis import given, settings
from hypothesis import strategies as st
from tilewright.annotations import OVERLAP, SUMS, TILES
from tilewright.compiler.lowering.overlap import overlap_epilogues
from tvm import tirx
from tvm.ir import TensorLoad

ROWS, SIZE = 7, 12


def number(value: int) -> Any:
    return tirx.IntImm("int64", value)


def loop(variable: Any, extent: int, body: Any, kind: Any = tirx.ForKind.SERIAL, **annotations: Any) -> Any:
    return tirx.For(variable, number(0), number(extent), kind, body, None, annotations)


def tiles(panels: int, count: int, steps: int, kind: Any = tirx.ForKind.SERIAL, *, marked: bool = True) -> Any:
    """Sums of a[panel, tile, k] over k, of which each of seven rows is written once."""
    a = tirx.decl_buffer([panels * count * steps], "float32", "a")
    out = tirx.decl_buffer([panels * count * ROWS], "float32", "out")
    sums = tirx.decl_buffer([SIZE], "float32", "sums")
    panel, tile, k, row = (tirx.Var(name, "int64") for name in ("panel", "tile", "k", "row"))
    position = panel * count + tile
    zero = tirx.BufferStore(sums, tirx.FloatImm("float32", 0.0), [number(0)])
    add = tirx.BufferStore(
        sums, tirx.BufferLoad(sums, [number(0)]) + tirx.BufferLoad(a, [position * steps + k]), [number(0)]
    )
    write = tirx.BufferStore(out, tirx.BufferLoad(sums, [number(0)]) + row.astype("float32"), [position * ROWS + row])
    body = tirx.SeqStmt([tirx.AllocBuffer(sums), zero, loop(k, steps, add, **SUMS.entry()), loop(row, ROWS, write)])
    marks = {**TILES.entry(), **OVERLAP.entry()} if marked else TILES.entry()
    return tirx.PrimFunc([a, out], loop(panel, panels, loop(tile, count, body, **marks), kind))


class Machine:
    """Runs statements on numbers."""

    def __init__(self) -> None:
        self.memory: dict[str, dict[int, Any]] = {}
        self.order: list[str] = []
        self.starts: list[tuple[int, int]] = []

    def run(self, node: Any, values: dict[Any, int]) -> None:
        if isinstance(node, tirx.SeqStmt):
            for each in node.seq:
                self.run(each, values)
        elif isinstance(node, tirx.For):
            for i in range(self.value(node.extent, values)):
                self.run(node.body, {**values, node.loop_var: i})
        elif isinstance(node, tirx.IfThenElse):
            if self.value(node.condition, values):
                self.run(node.then_case, values)
        elif isinstance(node, tirx.BufferStore):
            name = str(node.buffer.name)
            self.order.append(name)
            self.memory.setdefault(name, {})[self.value(node.indices[0], values)] = self.value(node.value, values)

    def value(self, node: Any, values: dict[Any, int]) -> Any:
        if isinstance(node, (tirx.IntImm, tirx.FloatImm)):
            return node.value
        if isinstance(node, tirx.Var):
            return next(value for key, value in values.items() if key.same_as(node))
        if isinstance(node, TensorLoad):
            at = self.value(node.indices[0], values)
            # Elements of the operand are powers of three: sums of them tell which they are.
            return (
                float(3 ** (at % 8)) * (at + 1) if node.source.name == "a" else self.memory[str(node.source.name)][at]
            )
        if isinstance(node, tirx.Cast):
            return self.value(node.value, values)
        if isinstance(node, tirx.Select):
            chosen = node.true_value if self.value(node.condition, values) else node.false_value
            return self.value(chosen, values)
        a, b = self.value(node.a, values), self.value(node.b, values)
        return OPERATORS[type(node)](a, b)


OPERATORS = {
    tirx.Add: lambda a, b: a + b,
    tirx.Sub: lambda a, b: a - b,
    tirx.Mul: lambda a, b: a * b,
    tirx.FloorDiv: lambda a, b: a // b,
    tirx.FloorMod: lambda a, b: a % b,
    tirx.Min: min,
    tirx.Max: max,
    tirx.LT: lambda a, b: a < b,
    tirx.GT: lambda a, b: a > b,
    tirx.EQ: lambda a, b: a == b,
    tirx.And: lambda a, b: a and b,
}


def outcome(function: Any) -> Machine:
    machine = Machine()
    machine.run(function.body, {})
    return machine


@settings(max_examples=30, deadline=None)
@given(
    panels=st.integers(1, 5),
    count=st.integers(1, 4),
    steps=st.sampled_from([1, 2, 3, 4, 6, 7, 20]),
    workers=st.integers(1, 7),
    kind=st.sampled_from([tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL]),
)
def test_every_row_is_written_once_with_the_same_value(
    panels: int, count: int, steps: int, workers: int, kind: Any
) -> None:
    function = tiles(panels, count, steps, kind)
    before, after = outcome(function), outcome(overlap_epilogues(function, workers))
    assert before.memory["out"] == after.memory["out"] and len(after.memory["out"]) == panels * count * ROWS
    assert after.order.count("out") == before.order.count("out")


def test_rows_are_written_between_the_sums_of_the_next_tile() -> None:
    order = outcome(overlap_epilogues(tiles(1, 2, 6), 1)).order
    first, second = order[:7], order[7:]
    assert first == ["sums"] * 7  # set to zero, six steps
    assert second == ["sums", *["sums", "out", "out"] * 3, "sums", "out", *["sums"] * 2, *["out"] * 7]


def test_registers_are_set_up_around_the_whole_nest() -> None:
    function = overlap_epilogues(tiles(3, 4, 6), 1)
    loops: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.For, loops.append))
    assert [str(each.loop_var.name) for each in loops if TILES.of(each)] == ["panel"]
    assert not any(OVERLAP.of(each) for each in loops)


def test_what_is_not_marked_stays() -> None:
    function = tiles(3, 4, 6, marked=False)
    assert overlap_epilogues(function, 2).same_as(function)


@pytest.mark.parametrize(("extent", "workers", "expected"), [(7, 3, [3, 2, 2]), (2, 5, [1, 1]), (8, 4, [2] * 4)])
def test_workers_have_runs_of_much_the_same_length(extent: int, workers: int, expected: list[int]) -> None:
    function = overlap_epilogues(tiles(extent, 1, 2, tirx.ForKind.PARALLEL), workers)
    loops: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.For, loops.append))
    (worker,) = (each for each in loops if each.kind == tirx.ForKind.PARALLEL)
    (run,) = (each for each in loops if TILES.of(each))
    lengths = [Machine().value(run.extent, {worker.loop_var: i}) for i in range(int(worker.extent))]
    assert lengths == expected

"""Flattening keeps the meaning of quotients and remainders, which TVM's own simplification does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
import tvm_ffi
from tilewright.compiler.lowering.flatten import hide_divisions, show_divisions
from tvm import tirx
from tvm.ir import TensorLoad

ROWS, COLUMNS, SOURCE = 3, 48, 300
Index = Callable[[Any, Any], Any]

# Every one of them comes out of FlattenBuffer wrong, unless it is hidden.
MISTAKEN: list[Index] = [
    lambda i, j: (22 - j) % 97,
    lambda i, j: (58 - j) // 7 + 10,
    lambda i, j: ((j + 26) // 7 + 1) % 3,
    lambda i, j: (((j * 3 + i + 31) // 5) + 1) % 2,
    lambda i, j: ((j + 56) % 3 + 4) % 3,
]
UNDERSTOOD: list[Index] = [
    lambda i, j: (i * 48 + j) // 12 * 12 + (i * 48 + j) % 12,
    lambda i, j: (i * 48 + j) // 7 % 5,
    lambda i, j: j % 5 + i * 2,
]


def moving(index: Index) -> Any:
    """A function that copies x[index(i, j)] to y[i, j]."""
    x, y = tirx.decl_buffer([SOURCE], "float32", "x"), tirx.decl_buffer([ROWS, COLUMNS], "float32", "y")
    i, j = tirx.Var("i", "int64"), tirx.Var("j", "int64")
    body: Any = tirx.BufferStore(y, tirx.BufferLoad(x, [index(i, j)]), [i, j])
    zero = tirx.IntImm("int64", 0)
    for variable, extent in ((j, COLUMNS), (i, ROWS)):
        body = tirx.For(variable, zero, tirx.IntImm("int64", extent), tirx.ForKind.SERIAL, body)
    return tirx.PrimFunc([x, y], body).with_attr({"global_symbol": "main", "s_tir": True})


def flattened(function: Any) -> Any:
    return tirx.transform.FlattenBuffer()(tvm.IRModule({"main": function}))["main"]


def index_of(function: Any) -> Callable[[int, int], int]:
    """The index at which a function loads, as a function of i and j."""
    loads: list[Any] = []
    tvm_ffi.structural_walk(function.body, (TensorLoad, loads.append))
    (index,) = loads[0].indices

    def at(i: int, j: int) -> int:
        values = {"i": tirx.IntImm("int64", i), "j": tirx.IntImm("int64", j)}
        number = tvm_ffi.structural_map(index, (tirx.Var, lambda variable: values[variable.name]))
        return int(tvm.sym.Analyzer().simplify(number))

    return at


@pytest.mark.parametrize("index", [*MISTAKEN, *UNDERSTOOD])
def test_indices_keep_their_meaning(index: Index) -> None:
    at = index_of(show_divisions(flattened(hide_divisions(moving(index)))))
    assert all(at(i, j) == index(i, j) for i in range(ROWS) for j in range(COLUMNS))


@pytest.mark.parametrize("index", UNDERSTOOD)
def test_what_loops_are_split_and_fused_by_is_simplified(index: Index) -> None:
    before = moving(index)
    tvm.ir.assert_structural_equal(hide_divisions(before), before)


@pytest.mark.parametrize("index", MISTAKEN)
def test_hidden_divisions_come_back(index: Index) -> None:
    before = moving(index)
    hidden = hide_divisions(before)
    assert not tvm_ffi.structural_equal(hidden, before)
    tvm.ir.assert_structural_equal(show_divisions(hidden), before)

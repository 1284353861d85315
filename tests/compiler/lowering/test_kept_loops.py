"""Loops that are marked run as often as before, and LLVM does not know how often."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tilewright.annotations import ROLLED
from tilewright.compiler.lowering.kept_loops import COUNT, TURN, hide_counts
from tvm import tirx


def number(value: int, dtype: str = "int32") -> Any:
    return tirx.IntImm(dtype, value)


def kernel(inner: Any, *last: Any, marked: bool = False, dtype: str = "int32") -> Any:
    """out[tile] += values[step], in loops over tiles and steps."""
    values, out = tirx.decl_buffer([3], "float32", "values"), tirx.decl_buffer([8], "float32", "out")
    tile, step = tirx.Var("tile", "int32"), tirx.Var("step", dtype)
    body = tirx.BufferStore(out, tirx.BufferLoad(out, [tile]) + tirx.BufferLoad(values, [step]), [tile])
    body = tirx.SeqStmt([body, *last]) if last else body
    marks = ROLLED.entry() if marked else {}
    steps = tirx.For(step, number(0, dtype), inner, tirx.ForKind.SERIAL, body, annotations=marks)
    return tirx.PrimFunc([values, out], tirx.For(tile, number(0), number(8), tirx.ForKind.SERIAL, steps))


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_counts_are_hidden(dtype: str) -> None:
    hidden = tirx.call_pure_extern("int32", COUNT, number(3)).astype(dtype)
    expected = kernel(hidden, tirx.Evaluate(tirx.call_extern("int32", TURN)), dtype=dtype)

    found = hide_counts(kernel(number(3, dtype), marked=True, dtype=dtype))

    tvm.ir.assert_structural_equal(found, expected, map_free_vars=True)


def test_other_loops_stay() -> None:
    plain = kernel(number(3))

    tvm.ir.assert_structural_equal(hide_counts(plain), plain, map_free_vars=True)

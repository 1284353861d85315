"""What is there of the results of kernels of which nothing is known but their statements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tvm
from tilewright.ir_passes.extents.digits import Digit, Extents, axis_of, whole
from tilewright.ir_passes.extents.kept_places import kept, literals
from tilewright.sizes import Dimension
from tvm import te, tirx

N = axis_of([Digit(7, Dimension("N", 7, 1).size)])
Compute = Callable[[te.Tensor], list[te.Tensor]]


def _kernel(compute: Compute, rows: int = 7) -> Any:
    x = te.placeholder((rows, 5), "float32", name="x")
    return te.create_prim_func([x, *compute(x)])


def _of_rows(x: te.Tensor) -> list[te.Tensor]:
    """A sum of each row, and all of it less that."""
    k = te.reduce_axis((0, 5), "k")
    total = te.compute((x.shape[0],), lambda i: te.sum(x[i, k], axis=k), name="total")
    return [total, te.compute(x.shape, lambda i, j: x[i, j] - total[i] * 0.5, name="rest")]


def _turned(x: te.Tensor) -> list[te.Tensor]:
    return [te.compute((5, x.shape[0]), lambda i, j: x[j, i] + 1.0, name="turned")]


def _pairs(x: te.Tensor) -> list[te.Tensor]:
    return [te.compute((7, 7), lambda i, j: x[i, 0] + x[j, 0], name="pairs")]


ROWS: Extents = (N, *whole((5,)))


@pytest.mark.parametrize(
    ("compute", "expected"),
    [(_of_rows, [(N,), ROWS]), (_turned, [(*whole((5,)), N)]), (_pairs, [(N, N)])],
    ids=["rows", "turned", "pairs"],
)
def test_elements_stay(compute: Compute, expected: list[Extents]) -> None:
    assert kept(_kernel(compute), [ROWS]) == expected


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: [te.compute(x.shape, lambda i, j: x[6 - i, j], name="backwards")],
        lambda x: [te.compute(x.shape, lambda i, j: x[i, j] + x[0, j], name="first")],
        lambda x: [te.compute((5,), lambda j: te.max(x[k := te.reduce_axis((0, 7), "k"), j], axis=k), name="over")],
        lambda x: [te.compute((14, 5), lambda i, j: x[i // 2, j], name="twice")],
        lambda x: [te.compute((3, 5), lambda i, j: x[i, j], name="some")],
    ],
    ids=["backwards", "first", "over", "twice", "some"],
)
def test_others_do_not(compute: Compute) -> None:
    assert kept(_kernel(compute), [ROWS]) is None


def test_statements_of_a_block_have_memory_of_their_own() -> None:
    @tvm.script.tirx.prim_func(s_tir=True)
    def last(x: tvm.script.tirx.Buffer((7, 5), "float32"), y: tvm.script.tirx.Buffer((7,), "float32")) -> None:
        for i in range(7):
            with tvm.script.tirx.sblock("row"):
                v = tvm.script.tirx.axis.remap("S", [i])
                kept_ = tvm.script.tirx.sblock_alloc_buffer((1,), "float32", scope="local")
                for j in range(5):
                    kept_[0] = x[v, j]
                y[v] = kept_[0]

    assert kept(last, [ROWS]) == [(N,)]


def test_numbers_that_are_no_sizes() -> None:
    def clamped(x: te.Tensor) -> list[te.Tensor]:
        return [te.compute(x.shape, lambda i, j: x[tirx.min(i, x.shape[0] - 1), j], name="clamped")]

    def counted(x: te.Tensor) -> list[te.Tensor]:
        k = te.reduce_axis((0, x.shape[0]), "k")
        return [te.compute(x.shape, lambda i, j: te.sum(x[i, j] + k.astype("float32") * 0.0, axis=k), name="counted")]

    assert literals(_kernel(counted)) != literals(_kernel(counted, rows=3))
    assert literals(_kernel(_of_rows)) == literals(_kernel(_of_rows, rows=3))
    assert literals(_kernel(clamped)) != literals(_kernel(clamped, rows=3))

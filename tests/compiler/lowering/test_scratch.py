"""Where a kernel's buffers live: hoisted out of loops, one copy a worker, and the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
import tvm_ffi
from tilewright import targets
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.compiler.lowering.scratch import hoist_scratch
from tvm import te, tirx
from tvm.s_tir import Schedule
from tvm.script import tirx as T  # noqa: N812 # as the parser of scripts knows it

ROWS, COLUMNS = 7, 70


def scheduled(*, parallel: bool, scope: str = "global") -> Any:
    x = te.placeholder((ROWS, COLUMNS), name="x")
    a = te.compute((ROWS, COLUMNS), lambda i, j: x[i, j] + 1.0, name="a")
    b = te.compute((ROWS, COLUMNS), lambda i, j: a[i, COLUMNS - 1 - j] * 2.0, name="b")
    sch = Schedule(te.create_prim_func([x, b]).with_attr("global_symbol", "main"))
    row = sch.get_loops("b")[0]
    if parallel:
        sch.parallel(row)
    sch.compute_at("a", row)
    sch.set_scope("a", 0, scope)
    return sch.mod["main"].without_attr("global_symbol")


def lowered(function: Any, cores: int) -> Any:
    target = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=cores).to_tvm()
    return lower_kernel(function, "net_k0", target, parallel=True)


def allocations(function: Any) -> list[Any]:
    found: list[Any] = []
    tvm_ffi.structural_walk(function.body, (tirx.AllocBuffer, found.append))
    return found


def test_serial_iterations_share_one_buffer() -> None:
    kernel = lowered(scheduled(parallel=False), cores=3)
    assert kernel.scratch == (COLUMNS * 4,) and not allocations(kernel.function)


@pytest.mark.parametrize(("cores", "copies"), [(1, 1), (3, 3), (64, ROWS)])
def test_every_worker_has_its_own(cores: int, copies: int) -> None:
    kernel = lowered(scheduled(parallel=True), cores)
    assert kernel.scratch == (copies * 128 * 4,)  # 70 elements, and no cache line shared with the neighbour
    assert not allocations(kernel.function)


def test_local_buffers_stay() -> None:
    kernel = lowered(scheduled(parallel=True, scope="local"), cores=3)
    assert kernel.scratch == () and allocations(kernel.function)


def test_iterations_are_shared_out() -> None:
    """Before and after, on a loop whose extent the workers do not divide."""

    @T.prim_func(s_tir=True)
    def before(x: T.Buffer((7,), "float32")) -> None:
        for i in T.parallel(7):
            a = T.alloc_buffer((4,), "float32")
            a[0] = x[i] + T.float32(1)
            x[i] = a[0]

    @T.prim_func(s_tir=True)
    def expected(x: T.Buffer((7,), "float32")) -> None:
        a = T.alloc_buffer((128,), "float32")
        for worker in T.parallel(2):
            for step in range(4):
                if worker * 4 + step < 7:
                    T.evaluate(0)
                    a[worker * 64 + 0] = x[worker * 4 + step] + T.float32(1)
                    x[worker * 4 + step] = a[worker * 64 + 0]

    tvm.ir.assert_structural_equal(hoist_scratch(before, 2).body, expected.body, map_free_vars=True)

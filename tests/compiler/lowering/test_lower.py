"""Lowering to the raw C ABI, and what code generation refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tilewright import targets
from tilewright.compiler.codegen.llvm_objects import compile_object
from tilewright.compiler.library.elf import Elf
from tilewright.compiler.library.naming import TVM_LAUNCH, own_symbol
from tilewright.compiler.lowering.lower import MAX_STACK_BYTES, LoweredKernel, lower_kernel
from tilewright.errors import CompilerError
from tvm import te, tirx
from tvm.s_tir import Schedule

TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3")


def lowered(schedule: Any, *, parallel: bool = True) -> LoweredKernel:
    return lower_kernel(
        schedule.mod["main"].without_attr("global_symbol"), "net_k0", TARGET.to_tvm(), parallel=parallel
    )


def two_stages(rows: int, columns: int) -> Any:
    x = te.placeholder((rows, columns), name="x")
    a = te.compute((rows, columns), lambda i, j: x[i, j] + 1.0, name="a")
    b = te.compute((rows, columns), lambda i, j: a[i, columns - 1 - j] * 2.0, name="b")
    return Schedule(te.create_prim_func([x, b]).with_attr("global_symbol", "main"))


def test_allocations_at_the_root_become_arguments() -> None:
    kernel = lowered(two_stages(8, 30))

    assert kernel.scratch == (8 * 30 * 4,)
    assert len(kernel.function.params) == 3
    assert not any(tirx.buffer.is_buffer_var(parameter) for parameter in kernel.function.params)
    assert str(kernel.function.ret_type) == "int32"


def test_small_allocations_in_loops_stay_on_the_stack() -> None:
    schedule = two_stages(8, 30)
    schedule.parallel(schedule.get_loops("b")[0])
    schedule.compute_at("a", schedule.get_loops("b")[0])
    schedule.set_scope("a", 0, "local")

    kernel = lowered(schedule)

    assert kernel.scratch == () and "alloc" in kernel.function.script()


def test_large_ones_are_refused_with_the_name_of_the_kernel() -> None:
    columns = MAX_STACK_BYTES // 4 + 1
    schedule = two_stages(8, columns)
    schedule.parallel(schedule.get_loops("b")[0])
    schedule.compute_at("a", schedule.get_loops("b")[0])
    schedule.set_scope("a", 0, "local")

    with pytest.raises(CompilerError, match=rf"need {columns * 4} bytes of stack") as caught:
        lowered(schedule)
    assert caught.value.where == "kernel 'net_k0'"


def test_one_thread_needs_no_pool(tmp_path: Path) -> None:
    schedule = two_stages(8, 30)
    schedule.parallel(schedule.get_loops("b")[0])

    for parallel in (False, True):
        path = tmp_path / "kernel.o"
        compile_object([lowered(schedule, parallel=parallel)], TARGET, "net", path)
        names = {symbol.name for symbol in Elf(path.read_bytes()).symbols()}
        assert (own_symbol(TVM_LAUNCH, "net") in names) is parallel
        assert not any("TVM" in name for name in names - {"TVMMod"})


def test_indices_are_32_bits_where_they_fit() -> None:
    def script(rows: int) -> str:
        x = te.placeholder((tirx.IntImm("int64", rows), tirx.IntImm("int64", 4096)), name="x")
        y = te.compute(x.shape, lambda i, j: x[i, j] + 1.0, name="y")
        return str(lowered(Schedule(te.create_prim_func([x, y]).with_attr("global_symbol", "main"))).function.script())

    small, large = script(16), script(1 << 20)
    assert "i * 4096 + j" in small and "T.int64(4096) +" not in small
    # 2^32 elements: 32 bits would wrap around.
    assert "T.int64(4096)" in large


def test_a_call_that_nothing_answers_names_its_kernel(tmp_path: Path) -> None:
    def kernel(symbol: str, function: str) -> LoweredKernel:
        x = te.placeholder((8,), name="x")
        y = te.compute((8,), lambda i: tirx.call_pure_extern("float32", function, x[i]), name="y")
        return lower_kernel(te.create_prim_func([x, y]), symbol, TARGET.to_tvm(), parallel=True)

    kernels = [kernel("net_k0_fine", "tanhf"), kernel("net_k1_stray", "somebody_elses_function")]
    with pytest.raises(CompilerError) as caught:
        compile_object(kernels, TARGET, "net", tmp_path / "kernels.o")
    assert caught.value.where == "kernel 'net_k1_stray'"
    assert caught.value.details == ("somebody_elses_function",)

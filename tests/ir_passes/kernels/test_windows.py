"""Windows of larger tensors: kernels before and expected, of blocks with the regions they touch."""

from __future__ import annotations

from tilewright.ir_passes.kernels.windows import Window, with_windows
from tvm.script import tirx as T  # noqa: N812 # as the parser of scripts knows it


@T.prim_func(s_tir=True)
def before(x: T.Buffer((3, 4), "float32"), y: T.Buffer((3, 4), "float32")) -> None:
    for i, j in T.grid(3, 4):
        with T.sblock("twice"):
            a, b = T.axis.remap("SS", [i, j])
            T.reads(x[a, b])
            T.writes(y[a, b])
            y[a, b] = x[a, b] * T.float32(2)


def test_the_kernel_writes_at_the_offset() -> None:
    @T.prim_func(s_tir=True)
    def expected(x: T.Buffer((3, 4), "float32"), y: T.Buffer((T.int64(3), T.int64(9)), "float32")) -> None:
        for i, j in T.grid(3, 4):
            with T.sblock("twice"):
                a, b = T.axis.remap("SS", [i, j])
                T.reads(x[a, b])
                T.writes(y[a, T.Cast("int64", b) + T.int64(5)])
                y[a, T.Cast("int64", b) + T.int64(5)] = x[a, b] * T.float32(2)

    written = with_windows(before, {1: Window((3, 9), (0, 5))})
    assert written.script().replace("def before", "def expected") == expected.script()


def test_the_kernel_reads_at_the_offset() -> None:
    @T.prim_func(s_tir=True)
    def expected(x: T.Buffer((T.int64(5), T.int64(9)), "float32"), y: T.Buffer((3, 4), "float32")) -> None:
        for i, j in T.grid(3, 4):
            with T.sblock("twice"):
                a, b = T.axis.remap("SS", [i, j])
                T.reads(x[T.Cast("int64", a) + T.int64(2), T.Cast("int64", b) + T.int64(5)])
                T.writes(y[a, b])
                y[a, b] = x[T.Cast("int64", a) + T.int64(2), T.Cast("int64", b) + T.int64(5)] * T.float32(2)

    reading = with_windows(before, {0: Window((5, 9), (2, 5))})
    assert reading.script().replace("def before", "def expected") == expected.script()

"""Loops, branches and sizes that depend on a dimension as C that runs: a plan made by hand, with kernels in C."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from tilewright import targets
from tilewright.compiler.emission import glue, link
from tilewright.compiler.emission.lifetimes import with_lifetimes
from tilewright.compiler.emission.memory import plan_memory
from tilewright.compiler.emission.steps_in_c import statements
from tilewright.compiler.library.plan import (
    Branch,
    BufferKind,
    Call,
    Constants,
    Copy,
    Kernel,
    Loop,
    Plan,
    Scalar,
    new_buffer,
)
from tilewright.compiler.library.signature import make_signature
from tilewright.compiler.library.tensor_spec import TensorSpec
from tilewright.errors import CompilerError
from tilewright.sizes import Dimension
from tilewright.targets.toolchain import find_toolchain

N = Dimension("n", 8)
X, TURNS, Y, SUM, COUNTER, GOES_ON, IS_ODD, LAST = range(8)
KERNELS = """
#include <stdint.h>
__attribute__((visibility("hidden"))) int32_t p_start(const float *x, float *sum, uint8_t *goes_on, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] = x[i];
  return !(*goes_on = 1);
}
__attribute__((visibility("hidden"))) int32_t p_odd(const int64_t *turn, uint8_t *is_odd) {
  *is_odd = *turn & 1;
  return 0;
}
__attribute__((visibility("hidden"))) int32_t p_double(float *sum, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] *= 2;
  return 0;
}
__attribute__((visibility("hidden"))) int32_t p_add(const float *x, float *sum, int64_t n) {
  for (int64_t i = 0; i < n; ++i) sum[i] += x[i];
  return 0;
}
__attribute__((visibility("hidden"))) int32_t p_goes_on(const float *sum, uint8_t *goes_on) {
  *goes_on = sum[0] < 100;
  return 0;
}
"""


def plan() -> Plan:
    """y = x; for turns, while y[0] < 100: y *= 2 in odd turns, y += x in even ones; of n of the elements."""
    kinds = BufferKind.INPUT, BufferKind.OUTPUT, BufferKind.WORKSPACE
    buffers = [
        new_buffer(kinds[0], N.size * 4, 0),
        new_buffer(kinds[0], 8, 1),
        new_buffer(kinds[1], N.size * 4, 0),
        *(new_buffer(kinds[2], size) for size in (N.size * 4, 8, 1, 1)),
        new_buffer(kinds[1], 8, 1),
    ]
    kernels = [
        Kernel(f"p_{name}", name, "", 0, 0, (), (N,) if name in ("start", "double", "add") else ())
        for name in ("start", "odd", "double", "add", "goes_on")
    ]
    turn = (
        Call(1, (COUNTER, IS_ODD), ("odd",)),
        Branch(IS_ODD, (Call(2, (SUM,), ("double",)),), (Call(3, (X, SUM), ("add",)),)),
        Call(4, (SUM, GOES_ON), ("goes on",)),
        Copy(COUNTER, LAST, ("last",)),
    )
    steps = (
        Call(0, (X, SUM, GOES_ON), ("start",)),
        Loop(Scalar(TURNS), turn, counter=COUNTER, condition=GOES_ON),
        Copy(SUM, Y, ("y",)),
    )
    placed, regions = plan_memory(with_lifetimes(buffers, steps))
    inputs = TensorSpec("x", (8,), "float32"), TensorSpec("turns", (), "int64")
    outputs = TensorSpec("y", (8,), "float32"), TensorSpec("last", (), "int64")
    return Plan("p", inputs, outputs, tuple(kernels), steps, tuple(placed), Constants(), regions, (N,))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder, target, made = tmp_path_factory.mktemp("plan"), targets.host(), plan()
    signature = make_signature(
        made,
        triple=target.triple,
        cpu=target.cpu,
        arch=target.arch,
        cpu_features=(),
        threads=1,
        tilewright_version="test",
    )
    toolchain = find_toolchain(target.triple)
    (folder / "kernels.c").write_text(KERNELS)
    subprocess.run(["cc", "-O2", "-fPIC", "-Wall", "-Werror", "-c", "kernels.c"], cwd=folder, check=True)
    glue.write_weights("p", made.constants, folder, target)
    glue.write_sources(made, signature, folder)
    objects = [folder / "kernels.o", link.assemble_weights(toolchain, folder), *link.compile_glue(toolchain, folder)]
    link.link_shared(toolchain, objects, link.api_symbols("p", threaded=False), folder / "p.so")
    return ctypes.CDLL(str(folder / "p.so"))


def run(library: ctypes.CDLL, x: np.ndarray, turns: int, n: int) -> tuple[int, np.ndarray, int]:
    y, last = np.full(8, -1, np.float32), np.full((), -1, np.int64)
    workspace = np.zeros(plan().workspace_bytes + 64, np.uint8)
    start = workspace.ctypes.data + -workspace.ctypes.data % 64
    inputs = (ctypes.c_void_p * 2)(x.ctypes.data, (count := np.array(turns, np.int64)).ctypes.data)
    outputs = (ctypes.c_void_p * 2)(y.ctypes.data, last.ctypes.data)
    status = library.p_run(inputs, outputs, ctypes.c_void_p(start), (ctypes.c_int64 * 1)(n))
    del count
    return status, y, int(last)


@pytest.mark.parametrize(("first", "turns", "n"), [(1.0, 0, 8), (1.0, 1, 8), (1.0, 5, 3), (40.0, 9, 8), (1.0, 50, 0)])
def test_it_runs_as_the_plan_says(library: ctypes.CDLL, first: float, turns: int, n: int) -> None:
    x = np.arange(8, dtype=np.float32) + np.float32(first)
    expected, last = x.copy(), -1
    for turn in range(turns):
        if turn and not (expected if n else np.zeros(1))[0] < 100:
            break
        expected = expected * 2 if turn % 2 else expected + x
        last = turn

    status, y, reached = run(library, x, turns, n)

    assert status == 0 and y[:n].tolist() == expected[:n].tolist() and (y[n:] == -1).all()
    if n:
        assert reached == last


def test_the_pool_hears_how_many_threads_share_a_kernel() -> None:
    made = plan()
    start, *others = made.kernels
    lines = statements(replace(made, kernels=(replace(start, threads=6), *others)))

    assert lines[0].startswith("SHARED_BY(6) if (p_start(")
    assert sum("SHARED_BY" in line for line in lines) == 1


@pytest.mark.parametrize("n", [-1, 9])
def test_a_dimension_beyond_its_bound_is_an_error(library: ctypes.CDLL, n: int) -> None:
    status, y, _ = run(library, np.zeros(8, np.float32), 1, n)
    assert status == 5 and (y == -1).all()


def test_memory_that_the_code_has_not() -> None:
    made = plan()
    fast = replace(made.buffers[SUM], region="fast")
    buffers = (*made.buffers[:SUM], fast, *made.buffers[SUM + 1 :])
    with pytest.raises(CompilerError, match="no memory for the region 'fast'"):
        statements(replace(made, buffers=buffers))

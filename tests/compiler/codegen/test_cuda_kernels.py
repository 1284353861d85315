"""Kernels that CUDA C++ cannot have are named with their nodes, whatever is wrong with them."""

from __future__ import annotations

import pytest
from cuda_emulation import TRIPLE
from tilewright import targets
from tilewright.compiler.codegen.c_used import Used
from tilewright.compiler.codegen.cuda_kernels import CUDA, kernel_in_cuda
from tilewright.compiler.lowering.lower import lower_kernel
from tilewright.errors import UnsupportedError
from tilewright.failures import nodes_named
from tvm import te
from tvm.s_tir import Schedule


def test_a_grid_that_no_gpu_takes_is_named() -> None:
    target = targets.parse(TRIPLE, cpu="sm_80")
    x = te.placeholder((70_000, 32), name="x")
    sch = Schedule(te.create_prim_func([x, te.compute(x.shape, lambda i, j: x[i, j] + 1.0, name="y")]))
    rows, columns = sch.get_loops(sch.get_sblock("y"))
    sch.bind(rows, "blockIdx.y")
    sch.bind(columns, "threadIdx.x")
    kernel = lower_kernel(sch.mod["main"], "net_k0", target.to_tvm(), parallel=False, grid=True)

    refused = pytest.raises(UnsupportedError, match="a grid of 1 x 70000 x 1 blocks")
    with refused as caught, nodes_named({"kernel 'net_k0'": ["conv", "relu"]}):
        kernel_in_cuda(kernel, Used(CUDA), target)

    assert caught.value.where == "kernel 'net_k0'"
    assert caught.value.details == ("it computes the nodes: conv, relu",)

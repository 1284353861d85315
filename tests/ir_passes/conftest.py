"""What the tests of the passes share: running a module on the CPU through Relax's own virtual machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tilewright.ir_passes.graph import Graph

Arrays = list[np.ndarray[Any, Any]]


def evaluate(module: tvm.IRModule, inputs: Arrays) -> Arrays:
    """The outputs of `main`, compiled by TVM's default pipeline."""
    executable = tvm.compile(module, target="llvm")
    machine = relax.VirtualMachine(executable, tvm.cpu())
    result = machine["main"](*(tvm.runtime.tensor(array) for array in inputs))
    results = [result] if isinstance(result, tvm.runtime.Tensor) else list(result)
    return [each.numpy() for each in results]


def random_inputs(module: tvm.IRModule, seed: int = 0) -> Arrays:
    """Values of magnitude 1 for each parameter of `main` (indices 0 and 1 for integers)."""
    rng = np.random.default_rng(seed)
    arrays = []
    for param in module["main"].params:
        shape, dtype = [int(dim) for dim in param.ty.shape.values], str(param.ty.dtype)
        if dtype.startswith(("int", "uint", "bool")):
            arrays.append(rng.integers(0, 2, shape).astype(dtype))
        else:
            arrays.append(rng.standard_normal(shape).astype(dtype))
    return arrays


def canonical(module: tvm.IRModule) -> tvm.IRModule:
    """The module as a pass writes it: one dataflow block, outputs last."""
    return Graph.read(module).write(module)


def operators(module: tvm.IRModule) -> list[str]:
    """The operators that `main` calls, in order, without `relax.`."""
    return [value.op.name[6:] for _, value in Graph.read(module).bindings if isinstance(value, tvm.ir.Call)]


def hints(module: tvm.IRModule) -> list[str]:
    """The hints of `main`'s bindings, in order."""
    return [var.name for var, _ in Graph.read(module).bindings]


@pytest.fixture
def same_numbers() -> Callable[..., None]:
    """Asserts that two modules compute the same outputs from the same random inputs.

    The default tolerance is for float32 sums taken in another order; the outputs must not be all alike.
    """

    def check(before: tvm.IRModule, after: tvm.IRModule, rtol: float = 1e-5, atol: float = 1e-5) -> None:
        inputs = random_inputs(before)
        expected = evaluate(before, inputs)
        actual = evaluate(after, inputs)
        assert len(expected) == len(actual)
        for want, got in zip(expected, actual, strict=True):
            assert want.dtype == got.dtype
            assert np.isfinite(want.astype("float64")).all()
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)

    return check

"""Small Relax models for the tests of the passes, and running them through Relax's own virtual machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from plain_floats import shown
from tilewright.ir_passes.core.constants import constant
from tilewright.ir_passes.core.graph import Graph
from tvm import relax

Arrays = list[np.ndarray[Any, Any]]
Body = Callable[..., Any]
op = relax.op


def build(inputs: dict[str, Any], body: Body) -> tvm.IRModule:
    """A module whose `main` is `body(emit, *inputs)`, as the frontends make it.

    `inputs` are shapes, or (shape, dtype); `emit(expr, name)` binds an expression to a variable with that hint.
    """
    params = []
    for name, spec in inputs.items():
        shape, dtype = spec if len(spec) == 2 and isinstance(spec[1], str) else (spec, "float32")
        params.append(relax.Var(name, relax.TensorType(shape, dtype)))
    builder = relax.BlockBuilder()
    with builder.function("main", params):
        with builder.dataflow():
            results = body(lambda expr, name="node": builder.emit(expr, name_hint=name), *params)
            results = list(results) if isinstance(results, tuple | list) else [results]
            out = builder.emit_output(relax.Tuple(results), name_hint="outputs")
        builder.emit_func_output(out)
    return builder.get()


def weights(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    """A constant of values around 1 / sqrt(fan-in): products keep the magnitude of their operand."""
    fan_in = int(np.prod(shape[1:])) if len(shape) > 2 else shape[0] if len(shape) == 2 else 1
    rng = np.random.default_rng([seed, *shape])
    return constant((rng.standard_normal(shape) / np.sqrt(max(fan_in, 1))).astype(dtype))


def evaluate(module: tvm.IRModule, inputs: Arrays) -> Arrays:
    """The outputs of `main`, compiled by TVM's default pipeline (unoptimised: compiling is what takes the time)."""
    target = tvm.target.Target({"kind": "llvm", "opt-level": 0})
    machine = relax.VirtualMachine(tvm.compile(shown(module), target=target), tvm.cpu())
    return [each.numpy() for each in machine["main"](*(tvm.runtime.tensor(array) for array in inputs))]


def random_inputs(module: tvm.IRModule, seed: int = 0) -> Arrays:
    """Values of magnitude 1 for each parameter of `main`; 0 and 1 for integers."""
    rng = np.random.default_rng(seed)
    arrays: Arrays = []
    for param in module["main"].params:
        shape, dtype = [int(dim) for dim in param.ty.shape.values], str(param.ty.dtype)
        whole = dtype.startswith(("int", "uint", "bool"))
        arrays.append((rng.integers(0, 2, shape) if whole else rng.standard_normal(shape)).astype(dtype))
    return arrays


def assert_same_numbers(before: tvm.IRModule, after: tvm.IRModule, tolerance: float = 1e-5) -> None:
    """Both modules compute the same from the same random inputs, within `tolerance` of the largest output.

    The default leaves room for float32 sums taken in another order. Outputs must be finite and not all alike.
    """
    inputs = random_inputs(before)
    for want, got in zip(evaluate(before, inputs), evaluate(after, inputs), strict=True):
        assert (want.dtype, want.shape) == (got.dtype, got.shape)
        wide = want.astype(np.float64)
        assert np.isfinite(wide).all()
        assert want.size == 1 or wide.std() > 0
        assert np.abs(got - wide).max() <= tolerance * max(np.abs(wide).max(), 1e-3)


def assert_same_ir(actual: tvm.IRModule, expected: tvm.IRModule) -> None:
    """Structural equality of the two `main`s as passes write them (hints are not compared)."""
    tvm.ir.assert_structural_equal(_canonical(actual)["main"], _canonical(expected)["main"])


def _canonical(module: tvm.IRModule) -> tvm.IRModule:
    return Graph.read(module).write(module)


def operators(module: tvm.IRModule) -> list[str]:
    """The operators that `main` calls, in order, without `relax.`."""
    return [value.op.name[6:] for _, value in Graph.read(module).bindings if isinstance(value, tvm.ir.Call)]


def hints(module: tvm.IRModule) -> list[str]:
    """The hints of `main`'s bindings, in order."""
    return [var.name for var, _ in Graph.read(module).bindings]

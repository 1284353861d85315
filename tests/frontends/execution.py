"""Runs a model in the tests: the one place that says how. Import is ours; execution is TVM's own, unoptimised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tvm
from tilewright import frontends
from tvm import relax

_TARGET = "llvm"


def execute(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    bindings: Sequence[str] = (),
) -> list[np.ndarray[Any, Any]]:
    """The outputs of a model on inputs by name, their shapes taken from the arrays; `bindings` are fixed at import."""
    imported = frontends.load(
        model,
        shapes={name: value.shape for name, value in inputs.items() if name not in bindings},
        bindings={name: inputs[name] for name in bindings},
    )
    return run_module(imported.module, [inputs[name] for name in imported.input_names])


def run_module(module: tvm.IRModule, arguments: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """The fields of what `main` returns."""
    machine = relax.VirtualMachine(tvm.compile(module, target=_TARGET), tvm.cpu())
    results = machine["main"](
        *(tvm.runtime.tensor(np.ascontiguousarray(array).reshape(array.shape)) for array in arguments)
    )
    return [result.numpy() for result in results]

"""Runs a model in the tests: the one place that says how, which is the way of a user: compiled, loaded, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import tilewright


def execute(
    model: onnx.ModelProto,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    bindings: Sequence[str] = (),
    cpu: str | None = None,
) -> list[np.ndarray[Any, Any]]:
    """The outputs of a model on inputs by name, their shapes taken from the arrays; `bindings` are fixed at import."""
    compiled = tilewright.compile(
        model,
        shapes={name: value.shape for name, value in inputs.items() if name not in bindings},
        bindings={name: inputs[name] for name in bindings},
        threads=1,
        cpu=cpu,
    )
    outputs = compiled.run({name: value for name, value in inputs.items() if name not in bindings})
    return list(outputs.values())

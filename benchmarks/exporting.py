"""A PyTorch module becomes one ONNX file that is held to the module's own outputs, and outputs that tell something."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import nn

CACHE_VARIABLE = "TILEWRIGHT_BENCHMARK_MODELS"
EXPORT_TOLERANCE = 1e-4  # of the largest |output|, ONNX Runtime against torch, both float32


def default_folder() -> Path:
    """Where exported models are kept: TILEWRIGHT_BENCHMARK_MODELS of the environment, or build/models."""
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override) if override else Path(__file__).resolve().parents[1] / "build" / "models"


def check_outputs(first: Sequence[np.ndarray[Any, Any]], second: Sequence[np.ndarray[Any, Any]]) -> str:
    """Hold the outputs for two different inputs to an ordinary size and to depending on the input.

    Returns: their spread and how much they differ, for people. Raises: AssertionError where a comparison of such
    outputs would show nothing.
    """
    notes = []
    for a, b in zip(first, second, strict=True):
        spread, difference = float(a.std()), float(np.abs(a - b).mean() / np.abs(a).mean())
        if not 0.05 < spread < 50:
            raise AssertionError(f"the outputs' standard deviation is {spread:.3g}: useless for comparisons")
        if difference < 0.005:
            raise AssertionError(f"two inputs give nearly the same outputs (mean difference {difference:.3g})")
        notes.append(f"std {spread:.2f}, {difference:.0%} changed by another input")
    return "; ".join(notes)


def run_module(model: nn.Module, inputs: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """The outputs of `model`, a tensor or a tuple of tensors, for inputs in the order of the mapping."""
    import torch

    with torch.no_grad():
        result = model(*(torch.from_numpy(value) for value in inputs.values()))
    return [tensor.numpy() for tensor in (result if isinstance(result, tuple) else (result,))]


def export_module(
    model: nn.Module,
    inputs: Mapping[str, np.ndarray[Any, Any]],
    outputs: Sequence[str],
    path: Path,
    varying: Sequence[int] = (),
) -> None:
    """Export `model` to one ONNX file at `path`, checked with ONNX Runtime against torch; none is left if it differs.

    Args:
        model: a module in evaluation mode that takes the tensors of `inputs`, in order.
        inputs: example inputs by name; their shapes become the model's.
        outputs: names for the outputs.
        path: written under another name first, so that what carries this name is whole.
        varying: axes of all inputs that may have other sizes than the examples.

    Raises: AssertionError if ONNX Runtime's outputs differ from torch's.
    """
    import onnxruntime
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of every torchvision operator it cannot know
    expected = run_module(model, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp.onnx")
    try:
        torch.onnx.export(
            model,
            tuple(torch.from_numpy(value) for value in inputs.values()),
            str(temporary),
            dynamo=True,
            input_names=list(inputs),
            output_names=list(outputs),
            external_data=False,
            verbose=False,
            dynamic_shapes=tuple(dict.fromkeys(varying, torch.export.Dim.AUTO) for _ in inputs) if varying else None,
        )
        session = onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"])
        for name, actual, reference in zip(outputs, session.run(None, dict(inputs)), expected, strict=True):
            error = float(np.abs(actual - reference).max() / np.abs(reference).max())
            if not error <= EXPORT_TOLERANCE:
                raise AssertionError(f"{path.name}: {name} differs from torch by {error:.2e} of its largest value")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)

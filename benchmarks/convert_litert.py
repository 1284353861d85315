"""A benchmark model as .tflite, by litert-torch: `python -m benchmarks.convert_litert NAME NAME.npz NAME.tflite`.

Run by `benchmarks.engines.litert` in the environment of `benchmarks/requirements-litert.txt`. Exit code 3: the model
has no PyTorch source.
"""

from __future__ import annotations

import sys

import numpy as np

from .torch_sources import torch_module


def main(arguments: list[str]) -> int:
    """Convert one model; returns the exit code."""
    name, inputs_file, target = arguments
    module = torch_module(name)
    if module is None:
        print("the model has no PyTorch source", file=sys.stderr)
        return 3
    import litert_torch
    import torch

    with np.load(inputs_file) as inputs:
        tensors = tuple(torch.from_numpy(inputs[key]) for key in inputs.files)
    litert_torch.convert(module, tensors).export(target)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

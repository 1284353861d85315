"""The PyTorch modules that the benchmark's ONNX files were exported from, by the files' names.

Imports neither Tilewright nor TVM: converters run it in environments of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import models, trained

if TYPE_CHECKING:
    from torch import nn


def torch_module(name: str) -> nn.Module | None:
    """The module of the model `name`, with the exported weights, in evaluation mode; None if there is none.

    Raises: SourceMissingError if a package that it comes from is not installed.
    """
    spec = models.found(name)
    if spec is not None:
        return models.create(spec)
    if name == trained.MINILM:
        return trained.create_minilm()
    return None

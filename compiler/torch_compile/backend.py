"""The backend that `torch.compile` calls with every graph that it captured.

A graph is compiled when it is first called, once for each set of sizes. What cannot be compiled, or is better left to
PyTorch (gradients, other devices, graphs that write to their inputs), PyTorch runs itself, and a warning says why.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import TilewrightError, TilewrightWarning, UsageError
from ..options import CompileOptions
from .cache import compiled_once
from .frozen import Frozen, constants_of, freeze

if TYPE_CHECKING:
    from ..library.artifact import CompiledModel

_MOST_SIZES = 16  # that one graph is compiled for; what is called with ever new ones is better left to PyTorch
_CACHE = "cache"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def tilewright(graph: Any, example_inputs: Sequence[Any], *, options: Mapping[str, Any] | None = None) -> Any:
    """A backend of `torch.compile`.

    Args:
        graph: the torch.fx.GraphModule that was captured.
        example_inputs: not used: the graph is compiled when it is called.
        options: fields of `CompileOptions` (``threads``, ``precision``, ...), and ``cache``: a folder for compiled
            graphs, by default ``~/.cache/tilewright``.

    Returns:
        A function of the graph's inputs that returns its outputs.

    Raises:
        UsageError: there is no such option.
    """
    given = dict(options or _NOTHING)
    folder = given.pop(_CACHE, None)
    unknown = sorted(set(given) - {field for field in CompileOptions.__dataclass_fields__ if field != "shapes"})
    if unknown:
        raise UsageError(f"there is no option {unknown[0]!r}", where="torch.compile(options=...)")
    return CompiledGraph(graph, CompileOptions(**given), None if folder is None else Path(folder))


@dataclass(frozen=True)
class _Variant:
    """A graph compiled for some sizes.

    Attributes:
        frozen: the graph with its weights inside.
        model: its library; None where PyTorch runs it.
    """

    frozen: Frozen
    model: CompiledModel | None


class CompiledGraph:
    """A captured graph: a library for every set of sizes that it is called with."""

    def __init__(self, graph: Any, options: CompileOptions, folder: Path | None) -> None:
        self._graph = graph
        self._options = options
        self._folder = folder
        self._constants = constants_of(graph)
        self._variants: dict[tuple[object, ...], _Variant] = {}
        self._left_alone: set[str] = set()

    def __call__(self, *inputs: Any) -> Any:
        """Runs the graph."""
        import torch

        if torch.is_grad_enabled() and any(getattr(each, "requires_grad", False) for each in inputs):
            return self._by_torch(inputs, "gradients are needed: call it under torch.no_grad()")
        if any(isinstance(each, torch.Tensor) and each.device.type != "cpu" for each in inputs):
            return self._by_torch(inputs, "its tensors are not on the CPU")
        key = tuple(_size(each) for index, each in enumerate(inputs) if index not in self._constants)
        variant = self._variants.get(key)
        if variant is None or not variant.frozen.still_holds(inputs):
            if variant is None and len(self._variants) >= _MOST_SIZES:
                return self._by_torch(inputs, f"it was compiled for {_MOST_SIZES} sets of sizes already")
            variant = self._variants[key] = self._compiled(inputs)
        if variant.model is None:
            return self._graph(*inputs)
        return variant.frozen.outputs(variant.model.run(variant.frozen.arrays(inputs)))

    def _compiled(self, inputs: Sequence[Any]) -> _Variant:
        frozen = freeze(self._graph, inputs, self._constants)
        if frozen.problem:
            self._warn(frozen.problem)
            return _Variant(frozen, None)
        try:
            return _Variant(frozen, compiled_once(frozen, self._options, self._folder))
        except TilewrightError as error:
            self._warn(str(error))
            return _Variant(frozen, None)

    def _by_torch(self, inputs: Sequence[Any], reason: str) -> Any:
        self._warn(reason)
        return self._graph(*inputs)

    def _warn(self, reason: str) -> None:
        if reason not in self._left_alone:
            self._left_alone.add(reason)
            warnings.warn(TilewrightWarning(f"PyTorch runs a graph of the model itself: {reason}"), stacklevel=3)


def _size(value: Any) -> object:
    """What a library depends on of an input: a tensor's shape and dtype, a number itself."""
    return (tuple(value.shape), value.dtype) if hasattr(value, "dtype") else value

"""A node of a TensorFlow Lite graph as its converter sees it, and the table of converters."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UnsupportedError
from .builder import Builder, layer_of
from .model import Graph, Operator, Tensor

Array = npt.NDArray[Any]
# A converter adds nodes that compute real numbers, and returns the names of the outputs.
Converter = Callable[["Node"], "str | Sequence[str]"]


@dataclass(frozen=True)
class Entry:
    """One row: what converts an operator, and whether it only moves elements, so that integers may stay integers."""

    converter: Converter
    moves: bool


_table: dict[str, Entry] = {}


def operator(*kinds: str, moves: bool = False) -> Callable[[Converter], Converter]:
    """Registers a converter."""

    def register(converter: Converter) -> Converter:
        _table.update(dict.fromkeys(kinds, Entry(converter, moves)))
        return converter

    return register


@cache
def converters() -> dict[str, Entry]:
    """Every row of the table; a file in `operators` fills it by being there."""
    package = importlib.import_module(".operators", __package__)
    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f".operators.{module.name}", __package__)
    return _table


class Node:
    """An operator with its tensors.

    Attributes:
        kind: TensorFlow Lite's name of the operator.
        label: the layer that it comes from.
        stays: whether it works on integers as they are stored, and gives such.
    """

    def __init__(self, source: Operator, graph: Graph, builder: Builder, where: str, stays: bool) -> None:
        self._source = source
        self._graph = graph
        self.builder = builder
        self.kind = source.kind
        self.label = layer_of(self.output(0).name) if source.outputs else source.kind
        self.where = f"{where}: node '{self.label}' ({source.kind})"
        self.stays = stays

    def __len__(self) -> int:
        """How many inputs it has, those left out included."""
        return len(self._source.inputs)

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self._source.inputs) and self._source.inputs[index] >= 0

    def place(self, index: int) -> int:
        """The place of an input's tensor in the graph."""
        if not self.has(index):
            raise UnsupportedError(f"its input {index} is missing", where=self.where)
        return self._source.inputs[index]

    def tensor(self, index: int) -> Tensor:
        """An input's tensor."""
        return self._graph.tensors[self.place(index)]

    def output(self, index: int) -> Tensor:
        """An output's tensor."""
        return self._graph.tensors[self._source.outputs[index]]

    @property
    def outputs(self) -> int:
        """How many outputs it has."""
        return len(self._source.outputs)

    def value(self, index: int) -> str:
        """An input's value: real numbers, or integers as they are stored where the node works on those."""
        place = self.place(index)
        return self.builder.stored(place) if self.stays else self.builder.real(place)

    def known(self, index: int) -> Array:
        """A constant input.

        Raises:
            UnsupportedError: it is computed by the model.
        """
        data = self.tensor(index).data
        if data is None:
            raise UnsupportedError(
                f"its input {index} is not a constant, and shapes must be known when a model is compiled",
                where=self.where,
            )
        return data

    def option(self, name: str) -> Any:
        """An option; 0 or False where the file does not say."""
        return self._source.options[name]

    def emit(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        """Adds an ONNX node of one output."""
        return self.builder.node(op_type, inputs, self.label, **attributes)

    def emit_many(self, op_type: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Adds an ONNX node of several outputs."""
        return self.builder.nodes(op_type, inputs, self.label, count, **attributes)

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Adds a constant."""
        return self.builder.constant(np.asarray(value, dtype), f"{self.label}/constant")

    def integers(self, values: Any) -> str:
        """Adds a constant vector of int64: a shape, axes."""
        return self.constant(np.asarray(values).reshape(-1), np.int64)

    def real_constant(self, value: float) -> str:
        """Adds a number of the dtype that the node computes in."""
        result = self.output(0)
        dtype = "float32" if result.quantization else result.dtype
        return self.constant(value, dtype)

    def unsupported(self, what: str) -> UnsupportedError:
        """The error for a use of the operator that is not supported."""
        return UnsupportedError(what, where=self.where)

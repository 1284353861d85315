"""A TensorFlow Lite file as dataclasses: tensors with their data and quantization, operators in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UnsupportedError
from .flatbuffer import DamagedError, Table, root
from .schema import CUSTOM, DTYPES, OPERATORS, OPTIONS

Array = npt.NDArray[Any]
_IDENTIFIER = b"TFL3"


@dataclass(frozen=True)
class Quantization:
    """The real value of a number q is (q - zero_point) * scale, along `axis` where there are several scales."""

    scales: Array
    zero_points: Array
    axis: int = 0

    def same_as(self, other: Quantization | None) -> bool:
        """Whether numbers mean the same under both."""
        return (
            other is not None
            and np.array_equal(self.scales, other.scales)
            and np.array_equal(self.zero_points, other.zero_points)
        )


@dataclass(frozen=True)
class Tensor:
    """A value of the graph; with `data`, a constant."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None = None
    data: Array | None = None
    is_variable: bool = False


@dataclass(frozen=True)
class Operator:
    """A node: places of its tensors, -1 for an input that is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """The main graph of a file."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def parse(data: bytes, where: str) -> Graph:
    """Reads a file.

    Raises:
        DamagedError, and numpy's errors: it is no such file, or it is damaged.
        UnsupportedError: it uses something of the format that is not supported.
    """
    if data[4:8] != _IDENTIFIER:
        raise DamagedError("the file does not begin like a TensorFlow Lite model")
    model = root(data)
    graphs = model.tables(2)
    if not graphs:
        raise DamagedError("there is no graph in it")
    buffers = [buffer.bytes(0) for buffer in model.tables(4)]
    tensors = tuple(_tensor(table, buffers, index, where) for index, table in enumerate(graphs[0].tables(0)))
    kinds = [_kind(code) for code in model.tables(1)]
    operators = tuple(_operator(table, kinds) for table in graphs[0].tables(3))
    inputs, outputs = (tuple(graphs[0].numbers(field, "<i4").tolist()) for field in (1, 2))
    made = ((op.outputs, 0) for op in operators)
    for places, known in ((inputs, 0), (outputs, 0), *((op.inputs, -1) for op in operators), *made):
        if any(not known <= place < len(tensors) for place in places):
            raise DamagedError("a tensor is used that is not there")
    return Graph(tensors, operators, inputs, outputs)


def _kind(code: Table) -> str:
    number = max(code.number(0, "b"), code.number(3, "i"))  # the first is of older files, and too narrow
    if number == CUSTOM:
        return f"custom operator {code.text(1)}"
    return OPERATORS[number] if 0 <= number < len(OPERATORS) else f"operator number {number}"


def _operator(table: Table, kinds: list[str]) -> Operator:
    kind = kinds[table.number(0, "I")]
    written = table.table(4)
    options = {
        name: written.number(field, form) if written is not None else 0
        for name, (field, form) in OPTIONS.get(kind, {}).items()
    }
    inputs, outputs = (tuple(table.numbers(field, "<i4").tolist()) for field in (1, 2))
    return Operator(kind, inputs, outputs, options)


def _tensor(table: Table, buffers: list[bytes], index: int, where: str) -> Tensor:
    name = table.text(3) or f"tensor_{index}"
    number = table.number(1, "b")
    if number not in DTYPES:
        raise UnsupportedError(
            f"its tensors of element type {number} are not supported", where=f"{where}: tensor '{name}'"
        )
    if table.table(6) is not None:
        raise UnsupportedError("sparse tensors are not supported", where=f"{where}: tensor '{name}'")
    shape = tuple(int(size) for size in table.numbers(0, "<i4"))
    dtype = DTYPES[number]
    place = table.number(2, "I")
    held = buffers[place] if place else b""
    data = np.frombuffer(held, dtype).reshape(shape) if held else None
    return Tensor(name, shape, dtype, _quantization(table.table(4)), data, bool(table.number(5, "?")))


def _quantization(table: Table | None) -> Quantization | None:
    if table is None:
        return None
    scales = table.numbers(2, "<f4")
    zero_points = table.numbers(3, "<i8")
    if not scales.size:
        return None
    if zero_points.size != scales.size:
        zero_points = np.zeros(scales.size, np.int64)
    return Quantization(scales, zero_points, table.number(6, "i"))

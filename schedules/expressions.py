"""Small TensorIR expressions that several templates need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tvm import DataType, tirx

Scalar = Any  # a TensorIR scalar expression; TVM ships no types


def int64(value: int) -> tirx.IntImm:
    """An index constant. Relax shapes are int64; mixing widths would litter kernels with casts."""
    return tirx.IntImm("int64", value)


def int64s(values: Sequence[int]) -> list[tirx.IntImm]:
    """A shape of index constants."""
    return [int64(value) for value in values]


def unflatten(index: Any, extents: Sequence[int]) -> list[Any]:
    """The coordinates, in row-major order, of a flat `index` into a space of `extents`."""
    coordinates = []
    for position, extent in enumerate(extents):
        inner = math.prod(extents[position + 1 :])
        if extent == 1:
            coordinates.append(int64(0))
            continue
        coordinate = index // inner if inner > 1 else index
        # The outermost coordinate cannot overflow.
        coordinates.append(coordinate if math.prod(extents[:position]) == 1 else coordinate % extent)
    return coordinates


def flatten(coordinates: Sequence[Any], extents: Sequence[int]) -> Any:
    """The row-major flat index of `coordinates` in a space of `extents`."""
    index: Any = int64(0)
    for coordinate, extent in zip(coordinates, extents, strict=True):
        index = index * extent + coordinate
    return index


def constant_shape(tensor: Any) -> tuple[int, ...]:
    """The shape of a TE tensor, buffer or Relax expression whose dimensions are all known."""
    shape = tensor.shape if hasattr(tensor, "shape") else tensor.ty.shape
    return tuple(int(extent) for extent in shape)


def dtype_bits(dtype: str) -> int:
    """Bits of one element of a TVM dtype."""
    return int(DataType(dtype).bits)

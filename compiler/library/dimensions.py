"""What the dimensions of a call are, as the shapes of its inputs say, and how large tensors are for them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ...errors import TensorError, UsageError
from ...sizes import Dimension, Size, dimensions_of, parse_size, value_of
from .signature import Signature
from .tensor_spec import TensorSpec

Values = Mapping[str, int]
_NOTHING: Values = MappingProxyType({})


def at(spec: TensorSpec, dimensions: Sequence[Dimension], values: Values) -> TensorSpec:
    """A tensor for some values of the dimensions."""
    if not spec.sizes:
        return spec
    shape = tuple(value_of(parse_size(text, dimensions), values) for text in spec.sizes)
    return replace(spec, shape=shape, sizes=())


def bounds_of(dimensions: Iterable[Dimension]) -> dict[str, int]:
    """The largest values."""
    return {dimension.name: dimension.bound for dimension in dimensions}


def values_of(
    dimensions: Sequence[Dimension], specs: Iterable[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> dict[str, int]:
    """The dimensions that some inputs say, by the shapes that they have.

    Raises:
        TensorError: shapes contradict each other, or are outside of the ranges.
    """
    found: dict[str, int] = {}
    for spec in specs:
        shape = shapes.get(spec.name)
        if shape is None or not spec.sizes or len(shape) != len(spec.sizes):
            continue
        for text, extent in zip(spec.sizes, shape, strict=True):
            size = parse_size(text, dimensions)
            inside = dimensions_of(size)
            if len(inside) == 1 and inside[0].name not in found:
                found[inside[0].name] = _solved(size, inside[0], extent, spec)
    return found


def sizes_of_call(signature: Signature, tensors: Mapping[str, Any], asked: Values = _NOTHING) -> dict[str, int]:
    """The dimensions of a call for which some inputs are given, and values of some dimensions; others are at bounds.

    Raises:
        UsageError: `asked` names no dimension, or a value outside of its range.
        TensorError: shapes are outside of the ranges.
    """
    dimensions = signature.dimensions
    known = {dimension.name: dimension for dimension in dimensions}
    for name, value in asked.items():
        if name not in known or not known[name].least <= value <= known[name].bound:
            ranges = ", ".join(f"{each.name}={each.least}..{each.bound}" for each in dimensions) or "no dimensions"
            raise UsageError(f"{name}={value} is no size of the library", where="--at", hint=f"it has {ranges}")
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if hasattr(value, "shape")}
    return {**bounds_of(dimensions), **asked, **values_of(dimensions, signature.model_inputs, shapes)}


def c_arguments(signature: Signature, values: Values) -> list[Any]:
    """What ``NAME_run`` takes after the workspace."""
    numbers = [values[dimension.name] for dimension in signature.dimensions]
    return [(ctypes.c_int64 * len(numbers))(*numbers)] if numbers else []


def _solved(size: Size, dimension: Dimension, extent: int, spec: TensorSpec) -> int:
    """The value with which a size is so large."""
    candidates: list[int] = [extent, *range(dimension.least, dimension.bound + 1)]
    for value in candidates:
        if dimension.least <= value <= dimension.bound and value_of(size, {dimension.name: value}) == extent:
            return value
    raise TensorError(
        f"input {spec.name!r} has an axis of {extent} where the library takes {size}",
        where=spec.name,
        hint=f"{dimension.name} is {dimension.least} to {dimension.bound}",
    )

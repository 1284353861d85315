"""What the dimensions of a call are, as the shapes of its inputs say, and how large tensors are for them."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from ...errors import TensorError, UsageError
from ...sizes import Dimension, Size, dimensions_of, parse_size, value_of, with_values
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


@dataclass(frozen=True)
class _Axis:
    """An axis of an input that is given: its size, as the library has it, and as it is."""

    spec: TensorSpec
    number: int
    size: Size
    extent: int

    def __str__(self) -> str:
        return f"axis {self.number} of input {self.spec.name!r} is {self.extent}"


def values_of(
    dimensions: Sequence[Dimension],
    specs: Iterable[TensorSpec],
    shapes: Mapping[str, Sequence[int]],
    known: Values = _NOTHING,
) -> dict[str, int]:
    """The dimensions that some inputs say, by the shapes that they have.

    Args:
        known: values of dimensions that do not depend on these inputs.

    Raises:
        TensorError: shapes contradict each other or what is known, or are outside of the ranges.
    """
    found = dict(known)
    axes = _axes(dimensions, specs, shapes) if dimensions else []
    told: dict[str, str] = {}
    while True:
        left = [(axis, with_values(axis.size, found)) for axis in axes]
        one = next(((axis, size) for axis, size in left if len(dimensions_of(size)) == 1), None)
        if one is None:
            break
        axis, size = one
        (dimension,) = dimensions_of(size)
        found[dimension.name] = _solved(size, dimension, axis)
        told[dimension.name] = str(axis)
    for axis in axes:
        if not dimensions_of(with_values(axis.size, found)) and value_of(axis.size, found) != axis.extent:
            raise _contradiction(axis, found, told)
    return found


def _axes(
    dimensions: Sequence[Dimension], specs: Iterable[TensorSpec], shapes: Mapping[str, Sequence[int]]
) -> list[_Axis]:
    """The axes of all inputs that are given.

    Raises:
        TensorError: one has another number of axes.
    """
    found = []
    for spec in specs:
        shape = shapes.get(spec.name)
        if shape is None:
            continue
        sizes = [parse_size(text, dimensions) for text in spec.sizes] or list(spec.shape)
        if len(shape) != len(sizes):
            raise TensorError(
                f"input {spec.name!r} has shape {'x'.join(map(str, shape)) or 'of a scalar'}",
                where=spec.name,
                hint=f"it takes {len(sizes)} axes: {spec}",
            )
        found += [_Axis(spec, *row) for row in zip(range(len(shape)), sizes, shape, strict=True)]
    return found


def sizes_of_call(signature: Signature, tensors: Mapping[str, Any], asked: Values = _NOTHING) -> dict[str, int]:
    """The dimensions of a call for which some inputs are given, and values of some dimensions; others are at bounds.

    Raises:
        UsageError: `asked` names no dimension, or a value outside of its range.
        TensorError: shapes are outside of the ranges.
    """
    dimensions = signature.dimensions
    if not dimensions and not asked:
        return {}
    known = {dimension.name: dimension for dimension in dimensions}
    for name, value in asked.items():
        if name not in known:
            ranges = ", ".join(f"{each.name}={each.least}..{each.bound}" for each in dimensions)
            raise UsageError(
                f"the library has no dimension {name!r}",
                where=f"--at {name}={value}",
                hint=f"it has {ranges}" if ranges else "all its sizes are fixed: leave --at out",
            )
        if not known[name].least <= value <= known[name].bound:
            raise UsageError(
                f"{name}={value} is outside of the library's range {known[name].least}..{known[name].bound}",
                where=f"--at {name}={value}",
                hint=_wider(known[name], value),
            )
    shapes = {name: tuple(value.shape) for name, value in tensors.items() if hasattr(value, "shape")}
    return {**bounds_of(dimensions), **values_of(dimensions, signature.model_inputs, shapes, asked)}


def c_arguments(signature: Signature, values: Values) -> list[Any]:
    """What ``NAME_run`` takes after the workspace."""
    numbers = [values[dimension.name] for dimension in signature.dimensions]
    return [(ctypes.c_int64 * len(numbers))(*numbers)] if numbers else []


def _solved(size: Size, dimension: Dimension, axis: _Axis) -> int:
    """The value of its only dimension with which the size of an axis is what it is."""
    least, bound = dimension.least, dimension.bound
    candidates: list[int] = [axis.extent, *range(least, bound + 1)]
    for value in candidates:
        if least <= value <= bound and value_of(size, {dimension.name: value}) == axis.extent:
            return value
    ends = [value_of(size, {dimension.name: value}) for value in (least, bound)]
    if min(ends) <= axis.extent <= max(ends):
        possible = [value_of(size, {dimension.name: value}) for value in range(least, bound + 1)]
        below = max(each for each in possible if each < axis.extent)
        above = min(each for each in possible if each > axis.extent)
        raise TensorError(
            f"{axis}, and the library takes {axis.size}: {below} or {above}, but nothing between",
            where=axis.spec.name,
            hint=f"{dimension.name} is a whole number from {least} to {bound}: pad it, or cut it",
        )
    raise TensorError(
        f"{axis}, and the library takes {axis.size}: {min(ends)} to {max(ends)}",
        where=axis.spec.name,
        hint=_wider(dimension, axis.extent if size == dimension.size else None),
    )


def _wider(dimension: Dimension, value: int | None) -> str:
    """What to do about a value that is outside of a range; None of one that is not known."""
    if value is None or value < 0:
        least, bound = "LEAST", "LARGEST"
    else:
        least, bound = str(min(dimension.least, value)), str(max(dimension.bound, value))
    ranges = f"{dimension.name} is {dimension.least} to {dimension.bound}"
    return f"{ranges}; for more, compile it with --range {dimension.name}={least}..{bound}"


def _contradiction(axis: _Axis, values: Values, told: Mapping[str, str]) -> TensorError:
    """The error that an axis has another extent than the dimensions say."""
    inside = dimensions_of(axis.size)
    if not inside:
        return TensorError(
            f"{axis}, and the library takes {axis.size} there, whatever its dimensions are",
            where=axis.spec.name,
            hint=f"it takes {axis.spec}; a size that varies has a name in --shape when it is compiled, and a --range",
        )
    numbers = ", ".join(f"{each.name}={values[each.name]}" for each in inside)
    because = "; ".join(told[each.name] for each in inside if each.name in told)
    return TensorError(
        f"{axis}, and the library takes {axis.size}, which is {value_of(axis.size, values)} with {numbers}",
        where=axis.spec.name,
        hint=f"{because}: give inputs whose sizes agree" if because else "give inputs of these sizes",
    )

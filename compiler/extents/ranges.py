"""What is asked of a compile where sizes vary: dimensions, sizes of the inputs, and which get code of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...errors import ShapeError, UsageError
from ...sizes import NAME, Dimension, Size, parse_size, smallest, value_of, with_values
from .state_pairs import pairs_asked

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions

MOST_BEST = 16  # sizes with code of their own
_MOST = 1 << 24  # of a dimension

Values = Mapping[str, int]


@dataclass(frozen=True)
class Ranges:
    """The dimensions of a library, and the sizes of its inputs.

    Attributes:
        dimensions: in the order in which calls pass their values.
        inputs: the size of each axis of each input.
        best: values of all dimensions for which there is code of its own.
        witnessed: for some values the shapes of all outputs, as the model has them.
        fixed: values of dimensions, in ranges for these alone.
        rooms: of dimensions that count what a state holds: how much it has room for, and how much a call adds.
    """

    dimensions: tuple[Dimension, ...]
    inputs: Mapping[str, tuple[Size, ...]]
    best: tuple[tuple[tuple[Dimension, int], ...], ...] = ()
    witnessed: tuple[tuple[Values, tuple[tuple[int, ...], ...]], ...] = ()
    fixed: tuple[tuple[Dimension, int], ...] = ()
    rooms: Mapping[str, tuple[int, Size]] = field(default_factory=dict)

    @property
    def bounds(self) -> Values:
        """The values that it is imported for: the largest, and of a state what leaves room for what continues it."""
        largest = {dimension.name: dimension.bound for dimension in self.dimensions}
        largest.update((dimension.name, value) for dimension, value in self.fixed)
        return {**largest, **{name: room - value_of(more, largest) for name, (room, more) in self.rooms.items()}}

    def for_best(self, values: Sequence[tuple[Dimension, int]]) -> Ranges:
        """The ranges that are left where dimensions have these values."""
        known = {dimension.name: value for dimension, value in values}
        inputs = {name: tuple(with_values(size, known) for size in sizes) for name, sizes in self.inputs.items()}
        return replace(self, inputs=inputs, fixed=tuple(values), best=(), witnessed=())

    @property
    def open(self) -> tuple[Dimension, ...]:
        """The dimensions that are not fixed."""
        fixed = {dimension for dimension, _ in self.fixed}
        return tuple(each for each in self.dimensions if each not in fixed)

    def shapes(self, values: Values) -> dict[str, tuple[int, ...]]:
        """The shapes of the inputs for some values."""
        return {name: tuple(value_of(size, values) for size in sizes) for name, sizes in self.inputs.items()}

    def witnesses(self) -> list[Values]:
        """Values by which it is seen how a model depends on them: others than the bounds, and than each other."""
        found: list[Values] = []
        fixed = {dimension.name: value for dimension, value in self.fixed}
        bounds = self.bounds
        for step in (1, 3):
            values = dict(fixed)
            for number, each in enumerate(self.open):
                least = min(max(2, each.least), bounds[each.name])
                values[each.name] = max(least, bounds[each.name] - step - 2 * number)
            if values not in found and values != bounds:
                found.append(values)
        least_of_all = {**fixed, **{each.name: min(max(2, each.least), each.bound) for each in self.open}}
        return found if least_of_all in (*found, bounds) else [*found, least_of_all]


def asked_ranges(opened: OpenedModel, options: CompileOptions) -> Ranges | None:
    """What is asked for, checked against the model; None where all is static.

    Raises:
        UsageError: an option names what is not there, or says what cannot be.
        ShapeError: a shape does not fit the model.
    """
    if not options.ranges:
        return None
    dimensions = tuple(_dimension(name, *bounds) for name, bounds in options.ranges.items())
    inputs = _sizes_of_inputs(opened, options, dimensions)
    used = {str(each) for sizes in inputs.values() for each in sizes if not isinstance(each, int)}
    for dimension in dimensions:
        if not any(dimension.name in text for text in used):
            raise UsageError(
                f"no input has a dimension {dimension.name!r}",
                where=f"--range {dimension.name}",
                hint=f"name it in a shape: --shape NAME={dimension.name}x...; or as the model calls its dimension",
            )
    states = pairs_asked(opened, options.asked_states, tuple(inputs))
    for name, sizes in inputs.items():
        if name not in states and any(smallest(size) < 1 for size in sizes):
            raise ShapeError(
                f"input '{name}' would have no elements",
                where="--range",
                hint="begin at 1 or more; a state may begin empty (--state IN=OUT, in libraries)",
            )
    return Ranges(dimensions, inputs, _best(options.best, dimensions))


def static_shapes(options: CompileOptions) -> dict[str, tuple[int, ...]]:
    """The shapes that options give, at the bounds of the ranges.

    Raises:
        UsageError: a size is no number, and has no range.
    """
    dimensions = tuple(_dimension(name, *bounds) for name, bounds in options.ranges.items())
    bounds = {dimension.name: dimension.bound for dimension in dimensions}
    return {
        name: tuple(value_of(_size(each, dimensions, name), bounds) for each in shape)
        for name, shape in options.shapes.items()
    }


def _dimension(name: str, least: int, bound: int) -> Dimension:
    if not NAME.fullmatch(name):
        raise UsageError(f"{name!r} names no dimension", where="--range", hint="letters, digits, a letter first")
    if not 0 <= least <= bound <= _MOST or not bound:
        raise UsageError(
            f"{least}..{bound} is no range of sizes", where=f"--range {name}", hint=f"write --range {name}=1..32"
        )
    return Dimension(name, bound, least)


def _size(value: int | str, dimensions: Sequence[Dimension], name: str) -> Size:
    if not isinstance(value, str):
        return int(value)
    try:
        return parse_size(value, dimensions)
    except ValueError as error:
        raise UsageError(
            str(error), where=f"--shape {name}", hint="give it a range: --range N=1..32; sizes are N, 32*H, S+1"
        ) from error


def _sizes_of_inputs(
    opened: OpenedModel, options: CompileOptions, dimensions: Sequence[Dimension]
) -> dict[str, tuple[Size, ...]]:
    """The sizes of all inputs that are given, or whose dimensions the model names as ranges do."""
    known: dict[str, Size] = {dimension.name: dimension.size for dimension in dimensions}
    model = _dims_of_inputs(opened)
    inputs: dict[str, tuple[Size, ...]] = {}
    for name, shape in options.shapes.items():
        inputs[name] = tuple(_size(each, dimensions, name) for each in shape)
        for size, own in zip(inputs[name], model.get(name) or (), strict=False):
            if isinstance(own, str):
                known.setdefault(own, size)
    for name, dims in model.items():
        if name in inputs or name in options.bindings or dims is None:
            continue
        sizes = [_known_size(dim, known, dimensions) if isinstance(dim, str) else dim for dim in dims]
        if all(size is not None for size in sizes):
            inputs[name] = tuple(size for size in sizes if size is not None)
    return inputs


def _known_size(text: str, known: Mapping[str, Size], dimensions: Sequence[Dimension]) -> Size | None:
    """The size that a model calls so: by the name of a dimension, or as a sum of some (``past + seq``)."""
    if text in known:
        return known[text]
    try:
        return parse_size(text, dimensions)
    except ValueError:
        return None


def _dims_of_inputs(opened: OpenedModel) -> dict[str, list[int | str | None] | None]:
    graph = opened.proto.graph
    weights = {each.name for each in graph.initializer}
    found: dict[str, list[int | str | None] | None] = {}
    for value in graph.input:
        if value.name not in weights:
            shape = value.type.tensor_type.shape if value.type.tensor_type.HasField("shape") else None
            found[value.name] = (
                None
                if shape is None
                else [dim.dim_param or (dim.dim_value if dim.dim_value > 0 else None) for dim in shape.dim]
            )
    return found


def _best(
    asked: Mapping[str, Iterable[int]], dimensions: Sequence[Dimension]
) -> tuple[tuple[tuple[Dimension, int], ...], ...]:
    """All combinations of those that are named; other dimensions still vary."""
    known = {dimension.name for dimension in dimensions}
    for name in asked:
        if name not in known:
            raise UsageError(f"there is no dimension {name!r}", where="--best", hint=f"add --range {name}=1..32")
    if not asked:
        return ()
    choices = []
    for dimension in dimensions:
        values = sorted(set(asked.get(dimension.name, ())))
        for value in values:
            if not dimension.least <= value <= dimension.bound:
                raise UsageError(
                    f"{value} is outside of the range {dimension.least}..{dimension.bound}",
                    where=f"--best {dimension.name}",
                )
        if values:
            choices.append([(dimension, value) for value in values])
    found = tuple(itertools.product(*choices))
    if len(found) > MOST_BEST:
        raise UsageError(
            f"{len(found)} sizes with code of their own are too many", where="--best", hint=f"at most {MOST_BEST}"
        )
    return found

"""What is asked of a compile where sizes vary: dimensions, sizes of the inputs, and which get code of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...errors import ShapeError, UsageError
from ...sizes import (
    NAME,
    Dimension,
    Size,
    SizeExpr,
    dimensions_of,
    parse_size,
    size_of_names,
    smallest,
    value_of,
    with_values,
)
from .state_pairs import pairs_asked

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions

MOST_BEST = 16  # sizes with code of their own
_MOST = 1 << 24  # of a dimension
_NO_LETTERS = re.compile(r"\W+")

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
        for each in self.open[3:]:  # so that it is seen which of many it is that something depends on
            alone = {**bounds, each.name: max(each.least, bounds[each.name] - 1)}
            if alone not in (*found, bounds):
                found.append(alone)
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
    named = _named_dimensions(options)
    dimensions = tuple(named.values())
    inputs = _sizes_of_inputs(opened, options, named)
    used = {dimension for sizes in inputs.values() for each in sizes for dimension in dimensions_of(each)}
    unused = [name for name, dimension in named.items() if dimension not in used]
    if unused:
        raise _without_use(unused, _dims_of_inputs(opened), inputs)
    states = pairs_asked(opened, options.states, tuple(inputs))
    for name, sizes in inputs.items():
        if any(smallest(size) < (0 if name in states else 1) for size in sizes):
            raise ShapeError(
                f"input '{name}' would have no elements",
                where="--range",
                hint="begin at 1 or more; a state may begin empty (--state IN=OUT)",
            )
    return Ranges(dimensions, inputs, _best(options.best, named))


def static_shapes(options: CompileOptions) -> dict[str, tuple[int, ...]]:
    """The shapes that options give, at the bounds of the ranges.

    Raises:
        UsageError: a size is no number, and has no range.
    """
    dimensions = tuple(_named_dimensions(options).values())
    bounds = {dimension.name: dimension.bound for dimension in dimensions}
    return {
        name: tuple(value_of(_size(each, dimensions, name), bounds) for each in shape)
        for name, shape in options.shapes.items()
    }


def _named_dimensions(options: CompileOptions) -> dict[str, Dimension]:
    """The dimensions by the names that ranges are given for: those of dimensions, or what a model calls a sum.

    Raises:
        UsageError: a range is none, or two dimensions would have one name.
    """
    named = {name: _dimension(name, *bounds) for name, bounds in options.ranges.items()}
    if len({dimension.name for dimension in named.values()}) < len(named):
        raise UsageError(
            "two dimensions would have one name", where="--range", hint="give the model's inputs a --shape"
        )
    return named


def _dimension(name: str, least: int, bound: int) -> Dimension:
    own = name if NAME.fullmatch(name) else _NO_LETTERS.sub("_", name).strip("_")
    if not NAME.fullmatch(own):
        raise UsageError(f"{name!r} names no dimension", where="--range", hint="letters, digits, a letter first")
    if not 0 <= least <= bound <= _MOST or not bound:
        raise UsageError(
            f"{least}..{bound} is no range of sizes", where=f"--range {name}", hint=f"write --range {name}=1..32"
        )
    return Dimension(own, bound, least)


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
    opened: OpenedModel, options: CompileOptions, named: Mapping[str, Dimension]
) -> dict[str, tuple[Size, ...]]:
    """The sizes of all inputs that are given, or whose dimensions the model names as ranges do."""
    known: dict[str, Size] = {_spelled(name): dimension.size for name, dimension in named.items()}
    model = _dims_of_inputs(opened)
    inputs: dict[str, tuple[Size, ...]] = {}
    for name, shape in options.shapes.items():
        inputs[name] = tuple(_size(each, tuple(named.values()), name) for each in shape)
        for size, own in zip(inputs[name], model.get(name) or (), strict=False):
            if isinstance(own, str):
                known.setdefault(_spelled(own), size)
    _solve_sums(known)
    for name, dims in model.items():
        if name in inputs or name in options.bindings or dims is None:
            continue
        sizes = [_known_size(dim, known) if isinstance(dim, str) else dim for dim in dims]
        if all(size is not None for size in sizes):
            inputs[name] = tuple(size for size in sizes if size is not None)
    return inputs


def _spelled(text: str) -> str:
    """What a model calls a dimension, without spaces."""
    return "".join(text.split())


def _known_size(text: str, known: Mapping[str, Size]) -> Size | None:
    """The size that a model calls so: by a name that is known, or as a sum of some (``past + seq``)."""
    text = _spelled(text)
    if text in known:
        return known[text]
    try:
        return size_of_names(text, known)
    except ValueError:
        return None


def _solve_sums(known: dict[str, Size]) -> None:
    """Adds what is left of a sum that is known when all of it but one name is a number: past, of ``past + 1``."""
    for text, size in list(known.items()):
        names = {name: Dimension(name, 1) for name in NAME.findall(text) if name not in known}
        if len(names) != 1 or NAME.fullmatch(text):
            continue
        ((name, unknown),) = names.items()
        try:
            rest = size_of_names(text, {**known, name: unknown.size}) + unknown.size * -1
        except ValueError:
            continue
        if isinstance(rest, int) and isinstance(size, SizeExpr):
            known[name] = size + -rest


def _without_use(
    unused: Sequence[str], model: Mapping[str, Sequence[int | str | None] | None], inputs: Mapping[str, object]
) -> UsageError:
    """The error that no input has a dimension: none is called so, or one that is has others without a size."""
    named = {name: [each for each in dims or () if isinstance(each, str)] for name, dims in model.items()}
    called = {
        name: {part for each in names for part in (_spelled(each), *NAME.findall(each))}
        for name, names in named.items()
    }
    for name in unused:
        if not any(_spelled(name) in parts for parts in called.values()):
            names = dict.fromkeys(each for dims in named.values() for each in dims)
            known = f": {', '.join(map(repr, names))}" if names else ", which has no names for them"
            return UsageError(
                f"no input has a dimension {name!r}",
                where=f"--range {name}",
                hint=f"name it in a shape: --shape NAME={name}x...; or as the model calls its dimensions{known}",
            )
    place = next(each for each, parts in called.items() if _spelled(unused[0]) in parts and each not in inputs)
    return UsageError(
        f"the input {place!r} has dimensions without a size: {', '.join(map(repr, named[place]))}",
        where=f"--range {unused[0]}",
        hint=f"give each a range, too: --range NAME=1..32; or all of it: --shape {place}=1x3x224x224",
    )


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
    asked: Mapping[str, Iterable[int]], named: Mapping[str, Dimension]
) -> tuple[tuple[tuple[Dimension, int], ...], ...]:
    """All combinations of those that are named; other dimensions still vary."""
    for name in asked:
        if name not in named:
            raise UsageError(f"there is no dimension {name!r}", where="--best", hint=f"add --range {name}=1..32")
    if not asked:
        return ()
    choices = []
    for name, dimension in named.items():
        values = sorted(set(asked.get(name, ())))
        for value in values:
            if not dimension.least <= value <= dimension.bound:
                raise UsageError(
                    f"{value} is outside of the range {dimension.least}..{dimension.bound}",
                    where=f"--best {name}",
                    hint=f"leave it out, or widen --range {name}",
                )
        if values:
            choices.append([(dimension, value) for value in values])
    found = tuple(itertools.product(*choices))
    if len(found) > MOST_BEST:
        raise UsageError(
            f"{len(found)} sizes with code of their own are too many", where="--best", hint=f"at most {MOST_BEST}"
        )
    return found

"""What is asked of a compile where sizes vary: dimensions, sizes of the inputs, and which get code of their own."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from ...dimension_names import DimensionNames, is_word, spelled
from ...errors import ShapeError, UsageError
from ...sizes import (
    NAME,
    Dimension,
    Size,
    SizeExpr,
    dimensions_of,
    parse_size,
    smallest,
    value_of,
    with_values,
    words_of,
)
from .sampling import Values, ends, imported_for, samples
from .state_pairs import pairs_asked

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..options import CompileOptions

MOST_BEST = 16  # sizes with code of their own
_MOST = 1 << 24  # of a dimension
Dims: TypeAlias = "Sequence[int | str | None]"  # as a model gives them, None where it says nothing
# How a dimension is left open by those who write models.
_OPENED = "dynamic_shapes={'x': {0: torch.export.Dim('N')}} in PyTorch, None in a Keras Input or a TensorSpec"
_NO_LETTERS = re.compile(r"\W+")


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
        largest = {dimension.name: imported_for(dimension) for dimension in self.dimensions}
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
        """Values by which it is seen how a model depends on them."""
        return samples(self.open, self.bounds)

    def ends(self) -> Values | None:
        """The smallest values, where nothing of a model is compared; None where there are no such."""
        return ends(self.open, self.bounds)


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
    bounds = {dimension.name: imported_for(dimension) for dimension in dimensions}
    return {
        name: tuple(value_of(_size(each, dimensions, name), bounds) for each in shape)
        for name, shape in options.shapes.items()
    }


def varying_axes(options: CompileOptions) -> dict[str, dict[int, str]]:
    """Of the inputs whose shapes options give the axes that vary, and their sizes as they are written.

    Raises:
        UsageError: as `static_shapes`.
    """
    dimensions = tuple(_named_dimensions(options).values())
    found: dict[str, dict[int, str]] = {}
    for name, shape in options.shapes.items():
        sizes = enumerate(_size(size, dimensions, name) for size in shape)
        found[name] = {axis: str(size) for axis, size in sizes if isinstance(size, SizeExpr)}
    return {name: axes for name, axes in found.items() if axes}


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
    """The sizes of all inputs that are given, or whose dimensions the model names as ranges do.

    Raises:
        UsageError: ranges are given for what nobody calls so, or for sums of what has sizes; inputs have none.
        ShapeError: what has a range is one number in the model.
    """
    model = _dims_of_inputs(opened)
    inputs = {
        name: tuple(_size(each, tuple(named.values()), name) for each in shape)
        for name, shape in options.shapes.items()
    }
    names = DimensionNames({name: dimension.size for name, dimension in named.items()})
    for name, sizes in inputs.items():
        for size, own in zip(sizes, model.get(name) or (), strict=False):
            if isinstance(own, str):
                names.learn(own, size)
    for name in named:
        if not is_word(name) and not names.unknown_of_sum(name):
            raise UsageError(
                f"the dimension {name!r} is what its parts make, which have sizes",
                where=f"--range {name}",
                hint="leave that range out",
            )
    names.solve()
    unknown: dict[str, list[str]] = {}
    for name, dims in model.items():
        if name in inputs or name in options.bindings or dims is None:
            continue
        found = [names.size(dim) if isinstance(dim, str) else dim for dim in dims]
        known = tuple(size for size in found if size is not None)
        if len(known) == len(found):
            inputs[name] = known
        else:
            places = [place for place, size in enumerate(found) if size is None]
            unknown[name] = [f"{place} ({dims[place]!r})" if dims[place] else str(place) for place in places]
    for name, given in inputs.items():
        _check_open(name, model.get(name), given)
    used = {dimension for sizes in inputs.values() for each in sizes for dimension in dimensions_of(each)}
    unused = [name for name, dimension in named.items() if dimension not in used]
    strange = [name for name in unused if not _is_called(name, model)]
    if unknown and not strange:
        raise _without_sizes(unknown, model, names)
    if unused:
        raise _nobody_calls((strange or unused)[0], model)
    return inputs


def _is_called(name: str, model: Mapping[str, Dims | None]) -> bool:
    """Whether a dimension of an input, or a part of its name, is called so."""
    texts = [dim for dims in model.values() for dim in dims or () if isinstance(dim, str)]
    return any(spelled(name) in (spelled(text), *words_of(text)) for text in texts)


def _nobody_calls(name: str, model: Mapping[str, Dims | None]) -> UsageError:
    """The error that no input has a dimension."""
    called = dict.fromkeys(dim for dims in model.values() for dim in dims or () if isinstance(dim, str))
    place, dims = next(((each, dims) for each, dims in model.items() if dims), ("NAME", [None]))
    open_axis = next((axis for axis, dim in enumerate(dims) if not isinstance(dim, int)), 0)
    shape = "x".join(name if axis == open_axis else str(dim or 1) for axis, dim in enumerate(dims))
    known = f"or give a range to what the model calls so: {', '.join(map(repr, called))}"
    return UsageError(
        f"no input has a dimension {name!r}",
        where=f"--range {name}",
        hint=f"name it in a shape: --shape {place}={shape}; {known if called else 'the model has no names for any'}",
    )


def _without_sizes(
    unknown: Mapping[str, Sequence[str]], model: Mapping[str, Dims | None], names: DimensionNames
) -> UsageError:
    """The error that inputs have dimensions without a size."""
    words = names.unknown(dim for name in unknown for dim in model[name] or () if isinstance(dim, str))
    ranges = [f"--range '{word}=1..32'" if " " in word else f"--range {word}=1..32" for word in words]
    place, dims = next((name, model[name] or ()) for name in unknown)
    shape = "x".join(str(dim) if isinstance(dim, int) else "N" for dim in dims)
    return UsageError(
        "inputs have dimensions without a size",
        where="--range",
        details=[f"input {name!r}: {', '.join(places)}" for name, places in unknown.items()],
        hint=f"add {' '.join(ranges)}{' or ' if ranges else ''}whole shapes: --shape {place}={shape}",
    )


def _check_open(name: str, dims: Dims | None, sizes: Sequence[Size]) -> None:
    """Refuses a size that varies where the model has one number."""
    for axis, (dim, size) in enumerate(zip(dims or (), sizes, strict=False)):
        if isinstance(dim, int) and isinstance(size, SizeExpr):
            raise ShapeError(
                f"dimension {axis} of input {name!r} is {dim} in the model, for which it was exported alone",
                where=f"--shape {name}",
                hint=f"export it with that dimension open: {_OPENED}; or give the number in place of {str(size)!r}",
            )


def _dims_of_inputs(opened: OpenedModel) -> dict[str, Dims | None]:
    graph = opened.proto.graph
    weights = {each.name for each in graph.initializer}
    found: dict[str, Dims | None] = {}
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
    for name, wanted in asked.items():
        if name not in named:
            raise UsageError(f"there is no dimension {name!r}", where="--best", hint=f"add --range {name}=1..32")
        if not list(wanted):
            raise UsageError(f"no size of {name!r} is named", where="--best", hint=f"write --best {name}=1,8")
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

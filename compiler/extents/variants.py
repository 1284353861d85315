"""The imports of a model that a library is made of: for the largest sizes, and for those with code of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ... import frontends
from ...errors import TilewrightError, UnsupportedError, UsageError
from ...ir_passes.core.functions import split
from ...ir_passes.core.graph import MAIN
from ...ir_types import IRModule
from ...sizes import Dimension
from ..options import CompileOptions
from .range_ends import check_ends
from .ranges import Ranges, asked_ranges, static_shapes
from .sampling import Values
from .seen import Seen
from .settle import settled
from .sized_constants import Sizes
from .state_pairs import pairs_asked
from .states import State, rooms_of, states_of, steps_of, with_states
from .witnesses import check_witness

Load = Callable[[Values, bool], frontends.ImportedModel]  # with loops of few turns as loops, or one after the other


@dataclass(frozen=True)
class Variant:
    """A model for some values of dimensions alone: after import, and once there are, its scheduled kernels.

    Attributes:
        values: of dimensions.
        ranges: of the others; None where there are none.
    """

    values: tuple[tuple[Dimension, int], ...]
    imported: frontends.ImportedModel
    ranges: Ranges | None = None
    module: IRModule | None = None


@dataclass(frozen=True)
class Imports:
    """What is asked for of sizes, the import for the largest, and those for sizes that get code of their own."""

    ranges: Ranges | None
    imported: frontends.ImportedModel
    best: tuple[Variant, ...] = ()
    states: tuple[State, ...] = ()


def imports_of(opened: frontends.OpenedModel, options: CompileOptions) -> Imports:
    """Imports a model for all that a library is asked to be good for.

    Raises:
        UsageError, ShapeError: what is asked for cannot be.
        UnsupportedError, ModelError: as `frontends.load`; or for other sizes the model is another one.
    """
    asked = asked_ranges(opened, options)
    if asked is None:
        imported = frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings)
        pairs = pairs_asked(opened, options.states or {}, ())
        return Imports(None, imported, (), states_of(imported, pairs, {}))

    def load(values: Values, loops: bool) -> frontends.ImportedModel:
        shapes = asked.shapes(values)
        try:
            return frontends.load(opened, shapes=shapes, bindings=options.bindings, sizes_vary=True, loops=loops)
        except TilewrightError as error:
            raise error.at("for " + ", ".join(f"{name}={value}" for name, value in values.items())) from error

    varying = [name for name, sizes in asked.inputs.items() if not all(isinstance(size, int) for size in sizes)]
    imported, seen, sizes = _imported(load, asked)
    ranges = _witnessed(asked, seen, sizes)
    if (smallest := asked.ends()) is not None:
        shapes = check_ends(imported, smallest, lambda values: load(values, False))
        ranges = ranges if shapes is None else replace(ranges, witnessed=(*ranges.witnessed, (smallest, shapes)))
    pairs = pairs_asked(opened, options.states, varying)
    states = states_of(imported, pairs, ranges.inputs, seen.shapes, sizes)
    ranges = replace(ranges, rooms=rooms_of(states))
    steps = steps_of(states, ranges.dimensions)
    best = [_variant(load, ranges, states, values) for values in ranges.best or ((steps,) if steps else ())]
    return Imports(ranges, with_states(imported, states, {}), tuple(best), states)


def _imported(load: Load, ranges: Ranges) -> tuple[frontends.ImportedModel, Seen, Sizes]:
    """The import for the largest sizes, settled for all; what is seen of those for others; the sizes of all of them.

    Loops of few turns are imported as these turns, and as loops where that makes another model for other sizes.
    """
    try:
        return _compared(load, ranges, loops=False)
    except UnsupportedError:
        if list(split(load(ranges.bounds, True).module)) == [MAIN]:
            raise
    return _compared(load, ranges, loops=True)


def _compared(load: Load, ranges: Ranges, *, loops: bool) -> tuple[frontends.ImportedModel, Seen, Sizes]:
    values = [ranges.bounds, *ranges.witnesses()]
    imported, seen, sizes = load(values[0], loops), Seen(), Sizes(ranges.open, tuple(values))
    for each in values[1:]:
        check_witness(imported, load(each, loops), seen, beyond=sizes.is_beyond(each))
    return settled(imported, seen, sizes), seen, sizes


def _witnessed(ranges: Ranges, seen: Seen, sizes: Sizes) -> Ranges:
    return replace(ranges, witnessed=tuple(zip(sizes.values[1:], seen.shapes, strict=True)))


def _variant(
    load: Load, ranges: Ranges, states: tuple[State, ...], values: tuple[tuple[Dimension, int], ...]
) -> Variant:
    """The model where dimensions have these values: for all values of the others, if there are others."""
    for dimension, value in values:
        if dimension.name in ranges.rooms:
            raise UsageError(
                "how much a state holds changes from call to call",
                where=f"--best {dimension.name}={value}",
                hint="name the dimension that counts what is new: --best seq=1",
            )
    left = ranges.for_best(values)
    if not left.open:
        # All constants are known: what is counted is one.
        return Variant(values, settled(load(left.bounds, False), Seen(), Sizes((), (left.bounds,))))
    imported, seen, sizes = _imported(load, left)
    known = {dimension.name: value for dimension, value in values}
    return Variant(values, with_states(imported, states, known), _witnessed(left, seen, sizes))

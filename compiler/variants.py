"""The imports of a model that a library is made of: for the largest sizes, and for those with code of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .. import frontends
from ..errors import TilewrightError
from ..ir_types import IRModule
from ..sizes import Dimension
from .options import CompileOptions
from .ranges import Ranges, Values, asked_ranges, static_shapes
from .witnesses import check_witness, output_shapes, with_ends


@dataclass(frozen=True)
class Variant:
    """A model for some values of the dimensions alone: after import, and once there are, its scheduled kernels."""

    values: tuple[tuple[Dimension, int], ...]
    imported: frontends.ImportedModel
    module: IRModule | None = None


def imports_of(
    opened: frontends.OpenedModel, options: CompileOptions
) -> tuple[Ranges | None, frontends.ImportedModel, tuple[Variant, ...]]:
    """What is asked for of sizes, the import for the largest, and those for sizes that get code of their own.

    Raises:
        UsageError, ShapeError: what is asked for cannot be.
        UnsupportedError, ModelError: as `frontends.load`; or for other sizes the model is another one.
    """
    ranges = asked_ranges(opened, options)
    if ranges is None:
        return None, frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings), ()

    def load(values: Values) -> frontends.ImportedModel:
        try:
            return frontends.load(opened, shapes=ranges.shapes(values), bindings=options.bindings)
        except TilewrightError as error:
            raise error.at("for " + ", ".join(f"{name}={value}" for name, value in values.items())) from error

    imported = load(ranges.bounds)
    witnessed, ends = [], []
    for values in ranges.witnesses():
        witness = load(values)
        ends.append(check_witness(imported, witness))
        witnessed.append((values, output_shapes(witness)))
    best = tuple(Variant(values, load({each.name: value for each, value in values})) for values in ranges.best)
    return replace(ranges, witnessed=tuple(witnessed)), with_ends(imported, ends), best

"""What stages are told of a model whose sizes vary: the passes of its extents, emission of its ranges."""

from __future__ import annotations

from collections.abc import Sequence

from ...frontends import ImportedModel
from ...ir_passes.extents.hold_extents import HoldExtents
from ...ir_types import IRModule
from ...sizes import Dimension
from ..emission.ranges import Ranged
from .ranges import Ranges
from .states import State


def extents_of(states: Sequence[State], imported: ImportedModel, ranges: Ranges | None) -> HoldExtents | None:
    """The pass that follows the sizes of a model's inputs; None where all are known."""
    if ranges is None:
        return None
    names = imported.input_names
    rooms = {names.index(each.input): (each.axis, each.room) for each in states if each.axis is not None}
    return HoldExtents([ranges.inputs[name] for name in names], ranges.bounds, rooms)


def ranged(
    imported: ImportedModel, module: IRModule, ranges: Ranges | None, values: tuple[tuple[Dimension, int], ...]
) -> Ranged:
    """A model and its kernels, for some values of dimensions and ranges of the others."""
    if ranges is None:
        return Ranged(imported, module, values)
    return Ranged(imported, module, values, ranges.inputs, ranges.bounds, ranges.witnessed)

"""Rules of kernels that the importer made: by their names those that move elements, by their statements all others."""

from __future__ import annotations

import re

from tvm import relax

from .digits import Axis, Digit, Extents, axis_of, bound_of, varies, whole
from .kept_places import kept
from .known import column, known
from .moving import chosen_places
from .step import Step, broadcast


def has_rule(function: str) -> bool:
    """Whether a kernel of the importer is followed by its name, and not statement by statement."""
    return function.startswith(("running_total", "rotate", "spread", "pad", "gather"))


def kernel(step: Step) -> Extents | tuple[Extents, ...]:
    """A kernel that the importer wrote."""
    (fields,) = step.fields.values()
    function, operands = str(step.call.args[0].name_hint), step.call.args[1].fields
    if function.startswith("running_total") and len(fields[0][1]) <= 1:  # what is not there comes after what is
        return fields[0]
    if function.startswith("rotate"):
        x, cosine, sine = fields
        (turned,) = broadcast(step, [x[2:3], cosine[1:2], sine[1:2]], step.shape[2:3])
        if any(varies(axis) for axis in (x[3], cosine[-1])):
            raise step.refused("it turns heads of a size that varies")
        return (*x[:2], turned, x[3])
    if function.startswith("spread"):
        return _spread(step, fields[0])
    if re.fullmatch(r"pad\d*", function):
        return _padded(step, fields[0])
    along = gathered_along(function)
    if along is not None:
        return _gathered(step, fields[0], fields[1], along)
    if not function.startswith("gather_nd"):
        every = None if has_rule(function) else kept(step.function, fields)  # of those no numbers were compared
        if every is None:
            raise step.refused("it has no rule for that")
        return tuple(every) if isinstance(step.call.ty, relax.TupleType) else every[0]
    data, places = fields
    depth, lead = bound_of(places[-1]), len(places) - 1
    if lead + len(data) - depth != len(step.shape):
        raise step.refused("it gathers for each of a batch")
    found = tuple(places[:-1])
    for number in range(depth):
        if varies(data[number]):
            chosen = chosen_places(step, data[number], column(operands[1], number, step.made_by), number)
            found = broadcast(step, [found, chosen], step.shape[:lead])
    return (*found, *data[depth:])


def gathered_along(function: str) -> int | None:
    """The axis along which a kernel of this name takes an element for each place; None for other kernels."""
    found = re.fullmatch(r"gather_elements_axis(\d+)_of\d*", function)
    return None if found is None else int(found[1])


def _gathered(step: Step, data: Extents, places: Extents, axis: int) -> Extents:
    """An element for each place, at that along an axis, and where the place is along the others."""
    found = broadcast(step, [places, (*data[:axis], (), *data[axis + 1 :])], step.shape)
    if not varies(data[axis]):
        return found
    array = known(step.call.args[1].fields[1], step.made_by)
    return broadcast(step, [found, chosen_places(step, data[axis], array, axis)], step.shape)


def _padded(step: Step, data: Extents) -> Extents:
    """What lies at the ends of some axes, repeated, mirrored."""
    for place, axis in enumerate(data):
        if varies(axis) and bound_of(axis) != step.shape[place]:
            raise step.refused(f"it repeats what lies at an end of axis {place}, which varies")
    changed = [bound_of(axis) != extent for axis, extent in zip(data, step.shape, strict=True)]
    return tuple(
        whole([extent])[0] if new else axis for axis, extent, new in zip(data, step.shape, changed, strict=True)
    )


def _spread(step: Step, data: Extents) -> Extents:
    """Zeros between the elements along the last axes."""
    axes: list[Axis] = []
    for place, axis in enumerate(data):
        bound, extent = bound_of(axis), step.shape[place]
        if not varies(axis) or bound == extent:
            axes.append(axis if bound == extent else whole([extent])[0])
            continue
        if len(axis) > 1:
            raise step.refused(f"axis {place} is several dimensions")
        stride = (extent - 1) // (bound - 1)
        axes.append(axis_of([Digit(extent, axis[0].size * stride + (1 - stride))]))
    return tuple(axes)

"""Rules of operators that move elements: reshapes, slices, lookups, what joins and what repeats tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tvm import relax

from ...ir_types import Expr
from ...sizes import Size, smallest
from ...slices import slices
from ..core.constants import constant, numpy_dtype
from ..dialect import from_end as from_end_operator
from ..dialect.append import joined
from ..dialect.without_end import left_of
from .digits import Axis, Digit, Extents, axis_of, bound_of, regrouped, size_of, varies, whole
from .known import known
from .step import Emit, Step, broadcast


def regroup(step: Step) -> Extents:
    """Reshapes and the like: digits in other axes."""
    found = regrouped(step.operands[0], step.shape)
    if found is None:
        raise step.refused("an axis would begin or end within a dimension that varies")
    return found


def permute(step: Step) -> Extents:
    """A transposition."""
    axes, operand = step.call.attrs.axes, step.operands[0]
    order = range(len(operand))[::-1] if axes is None else [int(axis) % len(operand) for axis in axes]
    return tuple(operand[axis] for axis in order)


def broadcast_to(step: Step) -> Extents:
    """Repeats along axes of 1: of as many as the bound has."""
    return broadcast(step, [step.operands[0]], step.shape)


def take(step: Step) -> Extents:
    """Elements at places along an axis; a place that is not there must lie somewhere all the same."""
    data, places = step.operands
    if step.call.attrs.axis is None:
        raise step.refused("it takes of all axes at once")
    axis, array = int(step.call.attrs.axis) % len(data), known(step.call.args[1], step.made_by)
    if varies(data[axis]) and array is not None:
        places = broadcast(step, [places, chosen_places(step, data[axis], array, axis)], array.shape)
    elif varies(data[axis]) and str(step.call.attrs.mode) == "wrap":
        if len(data[axis]) > 1:
            raise step.refused(f"axis {axis} is several dimensions")
        step.sizes = (size_of(data[axis]),)

        def from_where_it_ends(operands: Sequence[Expr], emit: Emit) -> Expr:
            """Places below 0 count from the end of what is there."""
            x, at, size = operands
            dtype = str(at.ty.dtype)
            end = size if dtype == "int64" else emit(relax.op.astype(size, dtype))
            before = emit(relax.op.less(at, constant(np.zeros((), numpy_dtype(dtype)))))
            inside = emit(relax.op.where(before, emit(relax.op.add(at, end)), at))
            return relax.op.take(x, inside, axis, mode="wrap")

        step.instead = from_where_it_ends
    step.fill(1, 0)
    return (*data[:axis], *places, *data[axis + 1 :])


def flip(step: Step) -> Extents:
    """What there is of an axis, its last element first."""
    (operand,) = step.operands
    axis = int(step.call.attrs.axis) % len(operand)
    if varies(operand[axis]):
        if len(operand[axis]) > 1:
            raise step.refused(f"axis {axis} is several dimensions")
        bound = bound_of(operand[axis])
        step.sizes = (size_of(operand[axis]),)

        def backwards(operands: Sequence[Expr], emit: Emit) -> Expr:
            x, size = operands
            places = emit(relax.op.subtract(size, constant(np.arange(1, bound + 1))))
            return relax.op.take(x, emit(relax.op.maximum(places, constant(np.zeros((), np.int64)))), axis, mode="fast")

        step.instead = backwards
    return operand


def from_end(step: Step) -> Extents:
    """Elements at distances from where an axis ends."""
    data, axis = step.operands[0], from_end_operator.axis_of(step.call)
    distances = known(step.call.args[1], step.made_by)
    if len(data[axis]) > 1 or distances is None or int(distances.max(initial=1)) > smallest(size_of(data[axis])):
        raise step.refused(f"axis {axis} may be shorter than that, or is several dimensions")
    if varies(data[axis]):
        step.sizes = (size_of(data[axis]),)

        def counted(operands: Sequence[Expr], emit: Emit) -> Expr:
            x, distances, end = operands
            return relax.op.take(x, emit(relax.op.subtract(end, distances)), axis)

        step.instead = counted
    return (*data[:axis], *step.operands[1], *data[axis + 1 :])


def chosen_places(step: Step, axis: Axis, places: Any, number: int) -> Extents:
    """What there is of elements of an axis that varies: of those that are always there all, of all in order as many."""
    if places is not None and places.size and int(places.min()) >= 0:
        # Where a part inside of an axis varies, places lie elsewhere for other sizes.
        if int(places.max()) < smallest(size_of(axis)) and not varies(axis[1:]):
            return whole(places.shape)
        for place in axes_in_order(places, bound_of(axis)):
            return tuple(axis if each == place else whole([size])[0] for each, size in enumerate(places.shape))
        if all_in_order(places) and places.size == bound_of(axis):
            found = regrouped((axis,), places.shape)
            if found is not None:
                return found
    raise step.refused(f"it takes elements along axis {number}, which varies")


def all_in_order(places: Any) -> bool:
    """Whether an array counts from 0 on, row by row: it takes what a reshape does."""
    return np.array_equal(places.reshape(-1), np.arange(places.size))


def axes_in_order(places: Any, count: int) -> list[int]:
    """The axes along which an array counts `count` times from 0 on, the same along all others."""
    lines = [
        np.arange(extent).reshape([-1 if each == axis else 1 for each in range(places.ndim)])
        for axis, extent in enumerate(places.shape)
    ]
    return [
        axis
        for axis, line in enumerate(lines)
        if line.size == count and np.array_equal(places, np.broadcast_to(line, places.shape))
    ]


def concat(step: Step) -> Extents:
    """Parts one after the other."""
    (parts,) = step.fields.values()
    axis = int(step.call.attrs.axis) % len(step.shape)
    others = broadcast(
        step,
        [tuple(() if at == axis else each for at, each in enumerate(part)) for part in parts],
        [1 if at == axis else extent for at, extent in enumerate(step.shape)],
    )
    if any(varies(part[axis]) for part in parts[:-1]):
        return _joined(step, parts, others, axis)
    joined = whole([step.shape[axis]])[0]
    last = parts[-1][axis]
    if varies(last):
        if len(last) > 1:
            raise step.refused(f"the last part of axis {axis} is several dimensions")
        before = step.shape[axis] - bound_of(last)
        joined = axis_of([Digit(step.shape[axis], last[0].size + before)])
    return tuple(joined if at == axis else each for at, each in enumerate(others))


def _joined(step: Step, parts: Sequence[Extents], others: Extents, axis: int) -> Extents:
    """Parts of which others than the last vary: where a part begins is known when it runs."""
    if any(len(part[axis]) > 1 for part in parts):
        raise step.refused(f"parts of axis {axis} are several dimensions")
    sizes = [size_of(part[axis]) for part in parts]
    step.sizes = tuple(sizes[:-1])
    count = len(parts)

    def one_after_another(operands: Sequence[Expr], emit: Emit) -> Expr:
        return joined(list(operands[0].fields), operands[-(count - 1) :], axis)

    step.instead = one_after_another
    whole_size: Size = 0
    for size in sizes:
        whole_size = size + whole_size
    axes = axis_of([Digit(step.shape[axis], whole_size)])
    return tuple(axes if at == axis else each for at, each in enumerate(others))


def continued(step: Step) -> Extents:
    """A state with what is new behind what it holds, in its memory."""
    state, new, *_ = step.operands
    axis = int(step.call.attrs["axis"])
    if len(state[axis]) != 1 or len(new[axis]) > 1:
        raise step.refused(f"what it holds along axis {axis} is several dimensions")
    others = [tuple(() if at == axis else each for at, each in enumerate(each)) for each in (state, new)]
    axes = broadcast(step, others, [1 if at == axis else extent for at, extent in enumerate(step.shape)])
    step.fill(2, 0)  # where rows of a text begin that is not there: somewhere in its memory
    step.own_end = True
    size = size_of(new[axis]) + state[axis][0].size
    return tuple(axis_of([Digit(step.shape[axis], size)]) if at == axis else each for at, each in enumerate(axes))


def split(step: Step) -> tuple[Extents, ...]:
    """Parts of an axis that is there throughout."""
    operand = step.operands[0]
    axis = int(step.call.attrs.axis) % len(operand)
    if varies(operand[axis]):
        raise step.refused(f"it splits axis {axis}, which varies")
    return tuple(
        tuple(whole([shape[axis]])[0] if at == axis else each for at, each in enumerate(operand))
        for shape in step.shapes
    )


def strided_slice(step: Step) -> Extents:
    """A window; of an axis that varies from somewhere to its end, or what is always there."""
    operand = step.operands[0]
    bounds = tuple(bound_of(axis) for axis in operand)
    found = slices(step.call, bounds)
    if found is None:
        raise step.refused("where it begins and ends is not known")
    axes: list[Axis] = []
    for place, (axis, each, bound) in enumerate(zip(operand, found, bounds, strict=True)):
        if not varies(axis) or each == slice(0, bound, 1):
            axes.append(axis if each == slice(0, bound, 1) else whole([step.shape[place]])[0])
            continue
        if len(axis) > 1 or each.step != 1:
            raise step.refused(f"it takes a part of axis {place}, which varies")
        if each.stop == bound:
            axes.append(axis_of([Digit(step.shape[place], axis[0].size + -each.start)]))
        elif each.stop <= smallest(axis[0].size):
            axes.append(whole([step.shape[place]])[0])
        else:
            raise step.refused(f"it takes a part of axis {place}, which varies")
    return tuple(axes)


def without_end(step: Step) -> Extents:
    """What is there of axes, but for some elements at their ends."""
    axes = list(step.operands[0])
    for place, begin, distance in left_of(step.call):
        if len(axes[place]) > 1:
            raise step.refused(f"axis {place} is several dimensions")
        size = size_of(axes[place]) + -(begin + distance)
        axes[place] = axis_of([Digit(step.shape[place], size)])
    return tuple(axes)


def padding(step: Step) -> Extents:
    """A value around a tensor."""
    attributes, operand = step.call.attrs, step.operands[0]
    if str(attributes.pad_mode) != "constant":
        raise step.refused("it repeats what lies at an end that varies")
    widths = [int(each) for each in attributes.pad_width]
    axes: list[Axis] = []
    for place, axis in enumerate(operand):
        before, after = widths[2 * place : 2 * place + 2]
        if not before and not after:
            axes.append(axis)
        elif not varies(axis):
            axes.append(whole([step.shape[place]])[0])
        elif len(axis) > 1 or min(before, after) < 0:
            raise step.refused(f"it pads axis {place}, which is several dimensions, or takes away from it")
        else:
            step.fill(0, float(attributes.pad_value), {at: widths[2 * at + 1] for at in range(len(operand))})
            axes.append(axis_of([Digit(step.shape[place], axis[0].size + (before + after))]))
    return tuple(axes)


def repeated(step: Step) -> Extents:
    """Each element several times, side by side."""
    operand, times = step.operands[0], int(step.call.attrs.repeats)
    if step.call.attrs.axis is None:
        raise step.refused("it repeats all axes at once")
    axis = int(step.call.attrs.axis) % len(operand)
    return (*operand[:axis], axis_of([*operand[axis], Digit(times, times)]), *operand[axis + 1 :])


def tiled(step: Step) -> Extents:
    """Repetitions of what is there throughout."""
    operand, rank = step.operands[0], len(step.shape)
    lead = rank - len(operand)
    axes: list[Axis] = []
    for place, extent in enumerate(step.shape):
        axis = operand[place - lead] if place >= lead else ()
        same = place >= lead and bound_of(axis) == extent
        if varies(axis) and not same:
            raise step.refused(f"it repeats axis {place}, which varies")
        axes.append(axis if same else whole([extent])[0])
    return tuple(axes)

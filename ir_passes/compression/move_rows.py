"""Rows of operators that move data: where each index of an operand is found in the result."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from tvm import relax

from ...ir_types import Expr
from ...slices import slices
from ..core.constants import Array, array_of, constant
from ..core.permutation import reshape_groups
from ..core.rewriter import rebuild
from ..dialect.interpolation import axes_of as interpolated_axes
from .links import Axis
from .row import Kept, Site, opaque


def permute(site: Site) -> None:
    """Axes under other numbers."""
    rank = len(site.operands[0].shape)
    axes = site.call.attrs.axes
    for place, axis in enumerate(range(rank)[::-1] if axes is None else axes):
        site.links.same(site.operand(0, int(axis)), site.result(place))


def reshape(site: Site) -> None:
    """Axes are taken apart and merged: both sides are products of the same finest axes, `parts`."""
    old, new = site.operands[0].shape, site.results[0].shape
    groups = reshape_groups(old, new)
    if groups is None:
        return opaque(site)
    for before, after in groups:
        if len(before) == len(after) == 1:
            site.links.same(site.operand(0, before[0]), site.result(after[0]))
            continue
        parts = _common_parts([old[axis] for axis in before], [new[axis] for axis in after])
        if parts is None:
            for axis in before:
                site.links.pin(site.operand(0, axis), "a reshape cuts it anew")
            for axis in after:
                site.links.pin(site.result(axis), "a reshape cuts it anew")
            continue
        inner = site.links.tensor(parts)
        _take_parts(site, inner.first, [site.operand(0, axis) for axis in before], parts)
        _take_parts(site, inner.first, [site.result(axis) for axis in after], parts)
    return None


def _common_parts(left: list[int], right: list[int]) -> list[int] | None:
    """The sizes of axes of which both shapes are merged; None where there are none: 4 x 6 as 6 x 4."""
    ends = sorted({math.prod(sizes[:count]) for sizes in (left, right) for count in range(1, len(sizes) + 1)})
    # Counted from the front, an axis is the steps from one end to the next: each has to divide the one behind it.
    if any(after % before for before, after in pairwise(ends)):
        return None
    return [after // before for before, after in pairwise([1, *ends])]


def _take_parts(site: Site, first: int, axes: list[Axis], parts: list[int]) -> None:
    position = 0
    for axis in axes:
        start, size = position, 1
        while size < axis.size:
            size *= parts[position]
            position += 1
        site.links.merged(axis, site.links.axes[first + start : first + position])


def reshaped(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """To the shape that is left."""
    return relax.op.reshape(args[0], kept.shape(site.results[0]))


def concat(site: Site) -> None:
    """Along its axis the operands stand one after the other."""
    if site.call.attrs.axis is None:
        return opaque(site)
    axis = int(site.call.attrs.axis) % len(site.results[0].shape)
    offset = 0
    for number, operand in enumerate(site.operands):
        site.same_axes(number, but=(axis,))
        every = np.arange(operand.shape[axis])
        site.links.mapped(site.operand(number, axis), every, site.result(axis), offset + every)
        offset += len(every)
    return None


def split(site: Site) -> None:
    """The parts are windows."""
    axis = int(site.call.attrs.axis) % len(site.operands[0].shape)
    offset = 0
    for number, result in enumerate(site.results):
        site.same_axes(but=(axis,), result=number)
        _window(site, axis, offset + np.arange(result.shape[axis]), number)
        offset += result.shape[axis]


def _window(site: Site, axis: int, indices: Array, result: int = 0) -> None:
    """These indices of the operand are the result's; one alone is chosen, so that it has to stay."""
    if len(indices) == 1:
        site.links.pin(site.operand(0, axis), "it is chosen by itself", indices)
    else:
        site.links.mapped(site.operand(0, axis), indices, site.result(axis, result), np.arange(len(indices)))


def split_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """At the places where the parts end that are left."""
    axis = int(site.call.attrs.axis)
    sizes = [kept.size(site.result(axis, number)) for number in range(len(site.results))]
    return relax.op.split(args[0], [int(end) for end in np.cumsum(sizes)[:-1]], axis)


def strided_slice(site: Site) -> None:
    """Windows along some axes."""
    shape = site.operands[0].shape
    taken = slices(site.call, shape)
    if taken is None:
        return opaque(site)
    for axis, each in enumerate(taken):
        indices = np.arange(shape[axis])[each]
        if len(indices) == shape[axis] > 1 and indices[0] == 0:
            site.links.same(site.operand(0, axis), site.result(axis))
        elif shape[axis] > 1:
            _window(site, axis, indices)
    return None


def sliced_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """The same window of what is left: as a slice where that has even steps, else as what stands at its indices."""
    shape, data = site.operands[0].shape, args[0]
    taken = slices(site.call, shape)
    assert taken is not None
    axes, begins, ends, steps = [], [], [], []
    for axis, each in enumerate(taken):
        wanted = _places(np.arange(shape[axis])[each], kept.indices(site.operand(0, axis)))
        if list(wanted) == list(range(kept.size(site.operand(0, axis)))):
            continue
        gaps = {int(gap) for gap in np.diff(wanted)} or {1}
        if len(gaps) > 1 or min(gaps) < 0:
            data = relax.op.take(data, constant(wanted.astype(np.int64)), axis=axis)
            continue
        axes.append(axis)
        begins.append(int(wanted[0]))
        ends.append(int(wanted[-1]) + 1)
        steps.append(gaps.pop())
    return relax.op.strided_slice(data, axes, begins, ends, steps) if axes else data


def _places(wanted: Array, left: Array) -> Array:
    """Where those of `wanted` that are left stand among what is left."""
    found = np.searchsorted(left, wanted)
    here = (found < len(left)) & (left[np.minimum(found, len(left) - 1)] == wanted)
    return np.asarray(found[here])


def take(site: Site) -> None:
    """Known indices along an axis; unknown ones may be any."""
    axis = site.call.attrs.axis
    if axis is None or len(site.operands) < 2:
        return opaque(site)
    rank, ranks = len(site.operands[0].shape), len(site.operands[1].shape)
    axis = int(axis) % rank
    for each in range(rank):
        if each != axis:
            site.links.same(site.operand(0, each), site.result(each + (ranks - 1 if each > axis else 0)))
    indices = _known_indices(site)
    if indices is not None and ranks == 1 and len(indices) > 1:
        site.links.mapped(site.operand(0, axis), indices, site.result(axis), np.arange(len(indices)))
        return site.links.pin(site.operand(1, 0), "they are indices")
    site.links.pin(site.operand(0, axis), "it is looked up in", None if indices is None else indices.reshape(-1))
    if ranks:
        for each in range(ranks):
            site.links.same(site.operand(1, each), site.result(axis + each))
    return None


def _known_indices(site: Site) -> Array | None:
    known = array_of(site.call.args[1])
    if known is None:
        return None
    size = site.operand(0, int(site.call.attrs.axis)).size
    indices = known.astype(np.int64)
    indices = np.where(indices < 0, indices + size, indices)
    return indices if indices.size and indices.min() >= 0 and indices.max() < size else None


def taken_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """What is left of the known indices, as they are counted now."""
    axis = site.operand(0, int(site.call.attrs.axis))
    indices = _known_indices(site)
    if indices is None or kept.size(axis) == axis.size:
        return rebuild(site.call, args)
    places = np.searchsorted(kept.indices(axis), indices)
    if indices.ndim == 1 and len(indices) > 1:
        places = _places(indices, kept.indices(axis))
    return rebuild(site.call, [args[0], constant(places)])


def broadcast(site: Site) -> None:
    """Axes of one element are repeated, as many as others need; the rest stay."""
    offset = len(site.results[0].shape) - len(site.operands[0].shape)
    for axis, size in enumerate(site.operands[0].shape):
        if size > 1:
            site.links.same(site.operand(0, axis), site.result(offset + axis))


def broadcast_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """To the shape that is left."""
    return relax.op.broadcast_to(args[0], kept.shape(site.results[0]))


def tile(site: Site) -> None:
    """Copies one after the other: an index goes in all of them."""
    _copied(site, lambda size, copies: np.tile(np.arange(size), copies))


def repeat(site: Site) -> None:
    """Copies side by side: an index goes with all of them."""
    if site.call.attrs.axis is None:
        return opaque(site)
    return _copied(site, lambda size, copies: np.repeat(np.arange(size), copies))


def _copied(site: Site, sources: Callable[[int, int], Array]) -> None:
    operand, result = site.operands[0].shape, site.results[0].shape
    offset = len(result) - len(operand)
    for axis, size in enumerate(operand):
        if size > 1:
            every = np.arange(result[offset + axis])
            where = sources(size, len(every) // size)
            site.links.mapped(site.operand(0, axis), where, site.result(offset + axis), every)


def tiled_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """As many copies, but of one element as many as are left."""
    operand, repeats = site.operands[0].shape, [int(each) for each in site.call.attrs.repeats]
    result = site.results[0].shape
    repeats = [1] * (len(result) - len(repeats)) + repeats
    for axis in range(len(result)):
        source = axis - (len(result) - len(operand))
        if source < 0 or operand[source] == 1:
            repeats[axis] = kept.size(site.result(axis))
    return relax.op.tile(args[0], repeats)


def repeated_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """As many copies, but of one element as many as are left."""
    axis = int(site.call.attrs.axis)
    one = site.operand(0, axis).size == 1
    return relax.op.repeat(args[0], kept.size(site.result(axis)) if one else int(site.call.attrs.repeats), axis)


def flip(site: Site) -> None:
    """The last is the first."""
    axis = int(site.call.attrs.axis) % len(site.operands[0].shape)
    site.same_axes(but=(axis,))
    every = np.arange(site.operands[0].shape[axis])
    site.links.mapped(site.operand(0, axis), every, site.result(axis), every[::-1])


def pad(site: Site) -> None:
    """What is there stands behind the padding; the padding itself may be as wide as others need."""
    attrs = site.call.attrs
    widths = [int(width) for width in attrs.pad_width]
    for axis, size in enumerate(site.operands[0].shape):
        before, after = widths[2 * axis : 2 * axis + 2]
        if not before and not after:
            site.links.same(site.operand(0, axis), site.result(axis))
        elif str(attrs.pad_mode) != "constant" or min(before, after) < 0:
            site.pin_axis(axis, "its padding is made of it")
        else:
            every = np.arange(size)
            site.links.mapped(site.operand(0, axis), every, site.result(axis), before + every)


def padded_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """As wide as what is left of the padding."""
    widths = [int(width) for width in site.call.attrs.pad_width]
    for axis, size in enumerate(site.operands[0].shape):
        left = kept.indices(site.result(axis))
        if len(left) < site.results[0].shape[axis]:
            before = widths[2 * axis]
            widths[2 * axis] = int((left < before).sum())
            widths[2 * axis + 1] = int((left >= before + size).sum())
    return rebuild(site.call, args, pad_width=widths)


def interpolate(site: Site) -> None:
    """Some axes are made anew of the tables, which are for them alone."""
    axes = tuple(interpolated_axes(site.call))
    site.same_axes(but=axes)
    for axis in axes:
        site.pin_axis(axis, "it is interpolated along")


def made(site: Site) -> None:
    """A tensor of one value everywhere is as large as others need."""
    del site


def made_again(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """Of the shape that is left."""
    shape = relax.ShapeExpr(kept.shape(site.results[0]))
    return rebuild(site.call, [shape, *args[1:]])

"""Rows of operators that sum over channels: convolutions, matrix products, sums; and of those that only share axes."""

from __future__ import annotations

import numpy as np

from ...ir_types import Expr
from ..core.rewriter import rebuild
from ..layout.layouts import CONVOLUTIONS
from .row import Kept, Site, opaque

_SPATIAL = "neighbours along it are read together"


def elementwise(site: Site) -> None:
    """Operands broadcast: an axis of one element goes along with whatever the others have."""
    rank = len(site.results[0].shape)
    for number, operand in enumerate(site.operands):
        offset = rank - len(operand.shape)
        for axis, size in enumerate(operand.shape):
            if size > 1:
                site.links.same(site.operand(number, axis), site.result(offset + axis))


def convolution(site: Site) -> None:
    """Input channels are summed over; of groups, whole ones go or the same channels of each."""
    attrs = site.call.attrs
    layouts = CONVOLUTIONS[site.call.op.name][0]
    if (str(attrs.data_layout), str(attrs.kernel_layout)) != layouts:
        return opaque(site)
    links, groups = site.links, int(attrs.groups)
    data, weights = site.operands
    links.same(site.operand(0, 0), site.result(0))
    links.same(site.operand(1, 0), site.result(1))
    for axis in range(2, len(data.shape)):
        site.pin_axis(axis, _SPATIAL)
        links.pin(site.operand(1, axis), _SPATIAL)
    inputs, outputs = weights.shape[1], weights.shape[0] // groups
    if groups == 1:
        return links.same(site.operand(0, 1), site.operand(1, 1))
    channels, results = np.arange(data.shape[1]), np.arange(weights.shape[0])
    if takes_whole_groups(groups, inputs, outputs):
        links.tied(site.operand(0, 1), channels // inputs)
        links.tied(site.result(1), results // outputs)
        links.mapped(site.operand(0, 1), channels[::inputs], site.result(1), results[::outputs])
        return links.pin(site.operand(1, 1), "groups are cut whole")
    links.tied(site.operand(0, 1), channels % inputs)
    links.tied(site.result(1), results % outputs)
    return links.mapped(site.operand(0, 1), channels[:inputs], site.operand(1, 1), np.arange(inputs))


def takes_whole_groups(groups: int, inputs: int, outputs: int) -> bool:
    """Whether a grouped convolution loses whole groups, the finer cut of many, rather than channels of every group."""
    return inputs == 1 or outputs == 1 or groups >= inputs


def fewer_groups(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """The groups that are left: each has as many input channels as the weights say."""
    inputs = kept.size(site.operand(1, 1))
    return rebuild(site.call, args, groups=kept.size(site.operand(0, 1)) // inputs)


def matmul(site: Site) -> None:
    """Rows and columns go to the result, what is summed over is the same in both, batches broadcast."""
    links = site.links
    (left, right), result = site.operands, site.results[0]
    links.same(site.operand(0, -1), site.operand(1, -2 if len(right.shape) > 1 else 0))
    if len(left.shape) > 1:
        links.same(site.operand(0, -2), site.result(-2 if len(right.shape) > 1 else -1))
    if len(right.shape) > 1:
        links.same(site.operand(1, -1), site.result(-1))
    batch = len(result.shape) - (len(left.shape) > 1) - (len(right.shape) > 1)
    for place in range(batch):
        # Counted from the end: operands have fewer batches than the result where they broadcast.
        from_end = place - batch - 2
        both = [number for number, operand in enumerate(site.operands) if -from_end <= len(operand.shape)]
        long = [number for number in both if site.operands[number].shape[from_end] > 1]
        for number in long:
            links.same(site.operand(number, from_end), site.result(place))
        if len(long) == 2:
            links.heads.append(site.result(place))


def total(site: Site) -> None:
    """A sum: what is left out counts as zero."""
    _reduced(site, "")


def reduction(site: Site) -> None:
    """A mean or an extreme is of all that there is."""
    _reduced(site, f"{site.call.op.name.removeprefix('relax.')} is over all of it")


def _reduced(site: Site, reason: str) -> None:
    call, rank = site.call, len(site.operands[0].shape)
    axis = call.attrs.axis
    if axis is None:
        axes = set(range(rank))
    else:
        axes = {int(each) % rank for each in (axis if hasattr(axis, "__len__") else [axis])}
    place = 0
    for each in range(rank):
        if each not in axes:
            site.links.same(site.operand(0, each), site.result(place))
        elif reason:
            site.links.pin(site.operand(0, each), reason)
        place += each not in axes or bool(call.attrs.keepdims)


def along_axis(site: Site) -> None:
    """Softmax, running sums, sorting: each element depends on all others of its row."""
    rank = len(site.operands[0].shape)
    axis = site.call.attrs.axis
    if axis is None:
        return opaque(site)
    site.same_axes(but=(int(axis) % rank,))
    return site.pin_axis(int(axis) % rank, f"{site.call.op.name.removeprefix('relax.')} is along it")


def normalisation(site: Site) -> None:
    """Layer and RMS norms: nothing can be cut of what the statistics are over."""
    rank = len(site.operands[0].shape)
    axes = tuple(int(axis) % rank for axis in site.call.attrs.axes)
    site.same_axes(but=axes)
    for axis in axes:
        site.pin_axis(axis, f"{site.call.op.name.removeprefix('relax.nn.')} takes its statistics over it")
    for parameter in site.operands[1:]:
        site.links.pin_all(parameter, "it belongs to what is normalised")


def group_norm(site: Site) -> None:
    """Whole groups of channels can go: each has statistics of its own (instance norm: each channel)."""
    attrs, links = site.call.attrs, site.links
    rank = len(site.operands[0].shape)
    channel = int(attrs.channel_axis) % rank
    axes = {int(axis) % rank for axis in attrs.axes}
    site.same_axes(but=tuple(axes - {channel}))
    for axis in axes - {channel}:
        site.pin_axis(axis, "group_norm takes its statistics over it")
    size = site.operands[0].shape[channel]
    links.tied(site.operand(0, channel), np.arange(size) // (size // int(attrs.num_groups)))
    for number in range(1, len(site.operands)):
        links.same(site.operand(number, 0), site.result(channel))


def fewer_normalised(site: Site, args: list[Expr], kept: Kept) -> Expr:
    """The groups that are left, as large as before."""
    attrs = site.call.attrs
    axis = site.operand(0, int(attrs.channel_axis))
    return rebuild(site.call, args, num_groups=kept.size(axis) * int(attrs.num_groups) // axis.size)


def pool(site: Site) -> None:
    """Channels are pooled by themselves."""
    if not str(site.call.attrs.layout).startswith("NC"):
        return opaque(site)
    spatial = tuple(range(2, len(site.operands[0].shape)))
    site.same_axes(but=spatial)
    for axis in spatial:
        site.pin_axis(axis, _SPATIAL)
    return None


def prelu(site: Site) -> None:
    """A slope a channel."""
    site.same_axes()
    axis = int(site.call.attrs.axis)
    if site.operands[1].shape[-1] > 1:
        site.links.same(site.operand(1, -1), site.result(axis))

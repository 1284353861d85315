"""Groups of channels that one may cut from: units that are alike, with what holds them together and what they cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.constants import Array, array_of
from .channel_graph import ChannelGraph
from .cut import why
from .layers import Layer
from .row import tensors_of


@dataclass(frozen=True)
class Group:
    """Units that take the same number of indices of the same axes, so that any of them may go as well as another.

    Attributes:
        units: their numbers in the graph, in the order of the first layer's channels.
        channels: for each layer whose output channels they are, the channels of each unit.
        inputs: for each layer that sums over them, the input channels of each unit (those of one group).
        held_by: nodes through which they go together.
        flops: of a run, of all that would go with all units: half of it where half of them go.
        weights_bytes: of constants, likewise.
        reasons: why units cannot be cut, and how many; a group is cut from as long as others are left.
        free: of each unit, whether it can be cut.
        of_heads: whether units are heads of an attention.
    """

    units: tuple[int, ...]
    channels: Mapping[str, Array]
    inputs: Mapping[str, Array]
    held_by: tuple[str, ...]
    flops: int
    weights_bytes: int
    reasons: Mapping[str, int]
    free: Array
    of_heads: bool = False

    @property
    def name(self) -> str:
        """The first of its layers, and its first channel where others have channels of the same layer."""
        return next(iter(self.channels))

    @property
    def can_be_cut(self) -> bool:
        """Whether anything of it can go."""
        return bool(self.free.any()) and len(self.units) > 1

    def width(self, layer: str) -> int:
        """How many output channels of a layer go with a unit."""
        return int(self.channels[layer].shape[1])


def channel_groups(channels: ChannelGraph) -> list[Group]:
    """The groups of all output channels of layers, in the layers' order."""
    outputs = {channels.outputs(layer).number: layer for layer in channels.layers.values()}
    inputs = {channels.inputs(layer).number: layer for layer in channels.layers.values()}
    members = _Members(channels)
    alike: dict[bytes, list[int]] = {}
    seen: set[int] = set()
    for layer in channels.layers.values():
        for unit in channels.units(channels.outputs(layer)).tolist():
            if unit not in seen:
                seen.add(unit)
                alike.setdefault(members.signature(unit), []).append(unit)
    constants = _constant_bytes(channels)
    return [_group(channels, members, units, outputs, inputs, constants) for units in alike.values()]


class _Members:
    """The slices of each unit, by axis."""

    def __init__(self, channels: ChannelGraph) -> None:
        sizes = [axis.size for axis in channels.links.axes]
        axis_of = np.repeat(np.arange(len(sizes)), sizes)
        start_of = np.repeat([axis.start for axis in channels.links.axes], sizes)
        self._order = np.argsort(channels.unit_of, kind="stable")
        counts = np.bincount(channels.unit_of) if len(channels.unit_of) else np.zeros(0, np.int64)
        self._ends = np.cumsum(counts)
        self._axis_of, self._start_of = axis_of, start_of

    def _slices(self, unit: int) -> Array:
        return np.asarray(self._order[self._ends[unit - 1] if unit else 0 : self._ends[unit]])

    def signature(self, unit: int) -> bytes:
        """Which axes a unit has slices of, and how many."""
        axes, counts = self.axes(unit)
        return axes.tobytes() + counts.tobytes()

    def axes(self, unit: int) -> tuple[Array, Array]:
        """The numbers of the axes that a unit has slices of, and how many of each."""
        axes, counts = np.unique(self._axis_of[self._slices(unit)], return_counts=True)
        return axes, counts

    def indices(self, unit: int, axis: int) -> Array:
        """The indices of an axis that a unit has."""
        slices = self._slices(unit)
        mine = slices[self._axis_of[slices] == axis]
        return np.asarray(mine - self._start_of[mine])


def _group(
    channels: ChannelGraph,
    members: _Members,
    units: list[int],
    outputs: Mapping[int, Layer],
    inputs: Mapping[int, Layer],
    constants: Mapping[int, int],
) -> Group:
    axes, counts = members.axes(units[0])
    links = channels.links
    made = {outputs[axis].name: _of_units(members, units, axis) for axis in axes.tolist() if axis in outputs}
    read = {inputs[axis].name: _of_units(members, units, axis) for axis in axes.tolist() if axis in inputs}
    flops = weights = 0.0
    for axis, count in zip(axes.tolist(), counts.tolist(), strict=True):
        share = count / links.axes[axis].size * len(units)
        layer = outputs.get(axis) or inputs.get(axis)
        flops += layer.flops * share if layer is not None else 0
        weights += constants.get(axis, 0) * share
    # The tensors of a reshape's parts have no name of their own: the node that links them has.
    linked = links.graph.subgraph(axes.tolist()).edges(data="node")
    free = np.array([unit not in channels.pins for unit in units])
    reasons = Counter(why(channels.pins[unit]) for unit in units if unit in channels.pins)
    return Group(
        tuple(units),
        made,
        read,
        tuple(dict.fromkeys(node for _, _, node in sorted(linked))),
        round(flops),
        round(weights),
        dict(reasons),
        free,
        not {axis.number for axis in links.heads}.isdisjoint(axes.tolist()),
    )


def _of_units(members: _Members, units: list[int], axis: int) -> Array:
    return np.stack([members.indices(unit, axis) for unit in units])


def _constant_bytes(channels: ChannelGraph) -> dict[int, int]:
    """The bytes of each constant, by the numbers of each of its axes."""
    found: dict[int, int] = {}
    for site in channels.sites.values():
        leaves = list(tensors_of(site.call))
        if len(leaves) != len(site.operands):  # one of them is a tuple: then it has no constants
            continue
        for leaf, tensor in zip(leaves, site.operands, strict=True):
            array = array_of(leaf)
            if array is not None:
                found.update((tensor.first + axis, array.nbytes) for axis in range(array.ndim))
    return found

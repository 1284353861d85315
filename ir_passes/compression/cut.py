"""A cut: the slices that a network loses, from the channels that its layers keep."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ...errors import CutError
from ..core.constants import Array
from .channel_graph import ChannelGraph
from .layers import Layer
from .links import Axis, Pin, Tensor

Keep = Mapping[str, Iterable[int]]
_SEE = "see `tilewright inspect --channels`"


@dataclass(frozen=True)
class Cut:
    """What is left of each axis.

    Attributes:
        channels: the graph that it is a cut of.
        left: of each slice, by number, whether it is left.
    """

    channels: ChannelGraph
    left: Array

    def mask(self, axis: Axis) -> Array:
        """Which indices of an axis are left."""
        return self.left[axis.start : axis.start + axis.size]

    def indices(self, axis: Axis) -> Array:
        """The indices of an axis that are left, in order."""
        return np.flatnonzero(self.mask(axis))

    def size(self, axis: Axis) -> int:
        """How many are left."""
        return int(np.count_nonzero(self.mask(axis)))

    def shape(self, tensor: Tensor) -> list[int]:
        """The shape that a tensor is left with."""
        return [self.size(self.channels.links.axis(tensor, axis)) for axis in range(len(tensor.shape))]

    def is_whole(self, tensor: Tensor) -> bool:
        """Whether a tensor is left as it was."""
        return self.shape(tensor) == list(tensor.shape)

    def of(self, tensor: Tensor, array: Array) -> Array:
        """What is left of the values of a tensor."""
        for axis in range(array.ndim):
            each = self.channels.links.axis(tensor, axis)
            if self.size(each) < each.size:
                array = array[(slice(None),) * axis + (self.mask(each),)]
        return array


def cut_units(channels: ChannelGraph, units: Iterable[int]) -> Cut:
    """The network without some units.

    Raises:
        CutError: nothing would be left of an axis.
    """
    gone = np.zeros(int(channels.unit_of.max(initial=-1)) + 1, bool)
    gone[np.asarray(list(units), np.int64)] = True
    cut = Cut(channels, ~gone[channels.unit_of] if len(gone) else np.zeros(0, bool))
    for axis in channels.links.axes:
        if axis.size and not cut.mask(axis).any():
            raise CutError(
                "nothing would be left of a tensor", where=axis.tensor.node, hint="keep a channel of every layer"
            )
    return cut


def cut_layers(channels: ChannelGraph, keep: Keep) -> Cut:
    """The network whose layers have these output channels left; those that go together with others take them along.

    Raises:
        CutError: there is no such layer or channel; what a layer loses has to stay, or takes channels along that
            another layer keeps.
    """
    units: dict[int, tuple[Layer, int]] = {}
    for name, kept in keep.items():
        layer = channels.layers.get(name)
        if layer is None:
            raise CutError("no layer of the model has this name", where=name, hint=_SEE)
        for channel in _lost(layer, kept):
            units.setdefault(int(channels.units(channels.outputs(layer))[channel]), (layer, channel))
    for unit, (layer, channel) in units.items():
        pin = channels.pins.get(unit)
        if pin is not None:
            raise CutError(f"channel {channel} cannot be cut: {why(pin)}", where=layer.name, hint=_SEE)
    cut = cut_units(channels, units)
    for name, kept in keep.items():
        missing = set(map(int, kept)) - set(cut.indices(channels.outputs(channels.layers[name])).tolist())
        if missing:
            channel = min(missing)
            unit = int(channels.units(channels.outputs(channels.layers[name]))[channel])
            other, by = units[unit]
            raise CutError(
                f"channel {channel} is kept, and goes together with channel {by} of '{other.name}', which is cut",
                where=name,
                hint="keep both or neither",
            )
    return cut


def why(pin: Pin) -> str:
    """The reason of a pin, for people."""
    return f"at '{pin.node}', {pin.reason}"


def _lost(layer: Layer, kept: Iterable[int]) -> list[int]:
    wanted = {int(channel) for channel in kept}
    beyond = sorted(channel for channel in wanted if not 0 <= channel < layer.outputs)
    if beyond:
        raise CutError(
            f"the layer has no channel {beyond[0]}", where=layer.name, hint=f"it has {layer.outputs}, from 0 on"
        )
    if not wanted:
        raise CutError("the layer would have no channel left", where=layer.name, hint="keep one, or drop the layer")
    return [channel for channel in range(layer.outputs) if channel not in wanted]

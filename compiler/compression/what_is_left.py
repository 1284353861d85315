"""What a cut leaves of layers: within the arrays of the whole model, in which recipes have their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ...ir_passes.compression.columns import input_columns
from ...ir_passes.compression.layers import Layer, layers_of
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Array
from .weight_homes import Home

if TYPE_CHECKING:
    from ...ir_passes.compression.cut import Cut
    from ...ir_types import IRModule


@dataclass(frozen=True)
class Left:
    """A layer of a model, and what is left of it.

    Attributes:
        home: the layer, as the model has it.
        layer: what is left.
        axes: of each axis of the weights, the indices that are left.
        groups, columns: of a gram matrix, those that are left.
    """

    home: Home
    layer: Layer
    axes: tuple[Array, ...]
    groups: Array
    columns: Array

    def of_moments(self, moments: Array) -> Array:
        """Second moments of the whole layer's columns, of each group, of those that are left."""
        return np.asarray(moments[self.groups][:, self.columns[:, None], self.columns])

    def whole(self, weights: Array, before: Array) -> Array:
        """Weights of what is left, in those that the model has in their place, as it has them."""
        found = self.home.to_relax(before).copy()
        found[np.ix_(*self.axes)] = weights
        return self.home.from_relax(found)


def left_of(homes: Sequence[Home], module: IRModule, cut: Cut | None, arrays: Mapping[str, Array]) -> dict[str, Left]:
    """What is left of layers, by name; those that are gone are left out.

    Args:
        module: the network that is left.
        cut: of the whole one; None where that is left.
        arrays: weights of the whole network that are not the model's own, by the names of initializers.
    """
    layers = layers_of(Graph.read(module))
    return {
        home.layer.name: _left(home, layers[home.layer.name], cut, arrays.get(home.node.weights))
        for home in homes
        if home.layer.name in layers
    }


def _left(home: Home, layer: Layer, cut: Cut | None, weights: Array | None) -> Left:
    own, groups = home.layer, home.layer.linear.groups
    if cut is None:
        axes = tuple(np.arange(size) for size in own.weights.shape)
        kept = np.arange(groups)
    else:
        tensor = cut.channels.sites[own.var].operands[1]
        axes = tuple(cut.indices(cut.channels.links.axis(tensor, axis)) for axis in range(own.weights.ndim))
        outputs = cut.mask(cut.channels.outputs(own)).reshape(groups, -1)
        kept = np.flatnonzero(outputs.any(axis=1))
    if weights is not None:
        own_weights = np.ascontiguousarray(home.to_relax(weights)[np.ix_(*axes)])
        layer = replace(layer, linear=replace(layer.linear, weights=own_weights))
    return Left(home, layer, axes, kept, input_columns(own, axes[own.input_axis]))

"""What becomes of a layer's results: up to where they can be compared, and which differences nobody sees.

A sum behind a layer has the errors of its other operand, too, which the layer can make up for; a ReLU makes all values
below zero alike (Zhang, Zou, He and Sun 2015, "Accelerating very deep convolutional networks").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx

from ..recipes.recipe import Array

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.linear_layers import LinearLayer


@dataclass(frozen=True)
class Followed:
    """Where a layer's results are compared.

    Attributes:
        tensor: the tensor there, of the shape of the layer's result, but for the order of axes.
        factor: what the result is multiplied by on the way, a number or one for each column.
        low, high: values of the tensor beyond them are as good as they are.
        axes: those of the result that the tensor's are; none where they are the same.
        branch: what the result becomes on the way to the sum behind it, the sum's operand last; none without a sum.
        total: the sum.
    """

    tensor: str
    factor: Array | float = 1.0
    low: float = -np.inf
    high: float = np.inf
    axes: tuple[int, ...] = ()
    branch: tuple[str, ...] = ()
    total: str = ""

    def of(self, tensors: Mapping[str, Array]) -> Array:
        """The tensor, with its axes where the layer's result has them."""
        array = tensors[self.tensor]
        return array.transpose(np.argsort(self.axes)) if self.axes else array

    def back(self, array: Array) -> Array:
        """An array with axes as `of` gives them, with its axes where the tensor has them."""
        return array.transpose(self.axes) if self.axes else array

    @property
    def is_clipped(self) -> bool:
        """Whether there are values that are as good as others."""
        return self.low > -np.inf or self.high < np.inf

    def wanted(self, before: Array, now: Array) -> Array:
        """What the tensor should be, of what it was in the whole network and is in the cut one."""
        wanted = np.where(before <= self.low, np.minimum(now, self.low), before)
        return np.where(before >= self.high, np.maximum(now, self.high), wanted)


class Walker:
    """Follows the results of layers through a model."""

    def __init__(self, opened: OpenedModel) -> None:
        from ...frontends.readers import readers_of

        graph = opened.proto.graph
        self._folder = str(opened.folder or "")
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._made_by = {name: index for index, node in enumerate(graph.node) for name in node.output}
        self._readers = readers_of(graph)

    def follow(self, layer: LinearLayer) -> Followed:
        """Goes on while one node alone reads the result: through batch norms, constants and one sum, to what clips."""
        tensor, total = layer.output, ""
        branch = [tensor]
        factor: Array | float = 1.0
        axes: tuple[int, ...] = ()
        while (node := self._readers.only(tensor)) is not None:
            others = [name for name in node.input if name != tensor]
            if node.op_type == "BatchNormalization" and set(others) <= set(self._constants):
                factor = factor * self._factor(node)
            elif node.op_type == "Add" and len(others) == 1 and others[0] in self._constants:
                pass
            elif node.op_type == "Add" and len(others) == 1 and not total and self._is_before(others[0], layer):
                total = node.output[0]
            elif node.op_type == "Transpose" and node.attribute:  # without, it reverses an unknown number of axes
                moved = tuple(int(axis) for axis in node.attribute[0].ints)
                axes = tuple(axes[axis] for axis in moved) if axes else moved
            else:
                return Followed(tensor, factor, *self._bounds(node), axes, tuple(branch) if total else (), total)
            tensor = node.output[0]
            if not total:
                branch.append(tensor)
        return Followed(tensor, factor, axes=axes, branch=tuple(branch) if total else (), total=total)

    def _array(self, name: str) -> Array:
        return np.asarray(onnx.numpy_helper.to_array(self._constants[name], self._folder))

    def _is_before(self, name: str, layer: LinearLayer) -> bool:
        """Whether a tensor is known, its errors too, when the layer is fitted."""
        return self._made_by.get(name, -1) < layer.index

    def _factor(self, node: onnx.NodeProto) -> Array:
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        scale, variance = (self._array(node.input[place]).astype(np.float64) for place in (1, 4))
        return np.asarray(scale / np.sqrt(variance + epsilon))

    def _bounds(self, node: onnx.NodeProto) -> tuple[float, float]:
        if node.op_type == "Relu":
            return 0.0, np.inf
        if node.op_type != "Clip":
            return -np.inf, np.inf
        given: Mapping[str, float] = {each.name: each.f for each in node.attribute}
        bounds = [given.get("min", -np.inf), given.get("max", np.inf)]
        for place, name in enumerate(node.input[1:3]):
            if name in self._constants:
                bounds[place] = float(self._array(name))
            elif name:  # a bound that is computed: nothing is known of it
                return -np.inf, np.inf
        return bounds[0], bounds[1]

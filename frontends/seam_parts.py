"""Where channels are in tensors, what becomes of weights around them, and what is known of a model meanwhile."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class RefusedError(Exception):
    """Factors do not go through a node."""


@dataclass(frozen=True)
class Place:
    """Where the channels of a tensor are: its axis has `tiles` times all channels, each of them `repeats` times.

    The axis counts from the end, as broadcasting does: it is negative.
    """

    axis: int
    channels: int
    tiles: int = 1
    repeats: int = 1

    def along(self, factors: Array) -> Array:
        """Factors of each place of the axis, of factors of channels."""
        shape = (self.tiles, self.channels, self.repeats)
        return np.broadcast_to(factors[None, :, None], shape).reshape(-1)

    @property
    def extent(self) -> int:
        """Of the axis."""
        return self.tiles * self.channels * self.repeats

    def apart(self, array: Array) -> Array:
        """A tensor as (all before, channels, all behind)."""
        behind = math.prod(array.shape[self.axis :]) // self.extent * self.repeats
        return array.reshape(-1, self.channels, behind)

    def spread(self, factors: Array) -> Array:
        """Factors as they broadcast against the tensor."""
        return self.along(factors).reshape(-1, *(1,) * (-self.axis - 1))

    def divided(self, array: Array, factors: Array) -> Array:
        """A tensor divided by factors of its channels."""
        return np.asarray(array / self.spread(factors))


@dataclass(frozen=True)
class Edit:
    """What becomes of an initializer when channels are divided by factors.

    Attributes:
        weights: its name.
        place: the channels, as along the axis of a tensor that its own axis belongs to.
        view: a shape of it in which the factors along that axis, reshaped to `like`, broadcast.
        divides: whether it is divided, too, or multiplied.
    """

    weights: str
    place: Place
    view: Shape
    like: Shape
    divides: bool

    def applied(self, array: Array, factors: Array) -> Array:
        """Its values then."""
        along = self.place.along(np.asarray(factors, np.float64)).reshape(self.like)
        viewed = array.reshape(self.view)
        return np.asarray((viewed / along if self.divides else viewed * along).reshape(array.shape))


@dataclass(frozen=True)
class Clip:
    """A node that clips, which has an end for each channel when channels are divided.

    Attributes:
        output: of it.
        place: the channels.
        low, high: the ends that it has; infinite where it has none.
    """

    output: str
    place: Place
    low: float
    high: float

    def nodes(self, node: onnx.NodeProto, factors: Array) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
        """What takes the place of the node, the last under its name, and the initializers that this needs."""
        along = self.place.spread(np.asarray(factors, np.float64))
        made, arrays, source = list[onnx.NodeProto](), list[onnx.TensorProto](), node.input[0]
        for operator, end in (("Max", self.low), ("Min", self.high)):
            if math.isinf(end):
                continue
            name = f"{self.output}/{operator}"
            if (operator, end) == ("Max", 0.0):
                made.append(onnx.helper.make_node("Relu", [source], [name], name))
            else:
                ends = np.asarray(end / along, np.float32)
                arrays.append(onnx.numpy_helper.from_array(ends, f"{name}/ends"))
                made.append(onnx.helper.make_node(operator, [source, arrays[-1].name], [name], name))
            source = name
        made[-1].output[0], made[-1].name = self.output, node.name
        return made, arrays


@dataclass(frozen=True)
class Graph:
    """What rules know of a model.

    Attributes:
        constants, floats: initializers, and the names of those of float32.
        uses: how often names are read, as `Readers` has it.
        shapes: of tensors, 0 for what is not known.
        readers, made_by: nodes around a tensor.
        order: of tensors.
        fixed: inputs and outputs of the model.
        folder: of weights in other files.
    """

    constants: Mapping[str, onnx.TensorProto]
    floats: frozenset[str]
    uses: Mapping[str, int]
    shapes: Mapping[str, Shape]
    readers: Mapping[str, Sequence[onnx.NodeProto]]
    made_by: Mapping[str, onnx.NodeProto]
    order: Mapping[str, int]
    fixed: frozenset[str]
    folder: str

    def shape(self, name: str) -> Shape:
        """Of a tensor whose rank is known."""
        if name not in self.shapes:
            raise RefusedError
        return self.shapes[name]

    def is_own(self, name: str) -> bool:
        """Whether it is an initializer of float32 that one node alone reads."""
        return name in self.floats and self.uses[name] == 1

    def value(self, name: str) -> Array:
        """Of an initializer."""
        if name not in self.constants:
            raise RefusedError
        return np.asarray(onnx.numpy_helper.to_array(self.constants[name], self.folder))

    def maker(self, name: str) -> str:
        """The operator that makes a tensor; none of an input."""
        return self.made_by[name].op_type if name in self.made_by else ""

    def own(self, name: str) -> str:
        """It, if it may be changed."""
        if not self.is_own(name):
            raise RefusedError
        return name

"""Where a model keeps the weights of a layer and what is added to its results, so that others can take their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from ..recipes.recipe import Array
from .what_follows import Followed, Walker

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.linear_layers import LinearLayer
    from ...ir_passes.compression.layers import Layer


@dataclass(frozen=True)
class Home:
    """A layer of a model, as the model keeps it.

    Attributes:
        layer: in Relax.
        node: in ONNX: the names of its weights, and of the tensors that it reads and makes.
        transposed: whether ONNX has the weights the other way around.
        bias: the initializer that is added to its results, perhaps behind a factor; "" where there is none.
        factor: by which a constant is multiplied that is added to the layer's results, to be one of `bias`.
        followed: where its results are compared.
        inside: whether the bias is added within the node, so that the tensor that it makes has it.
        fits: whether the layer can be fitted to what it made: not where the node adds what others read, too.
    """

    layer: Layer
    node: LinearLayer
    transposed: bool
    bias: str
    factor: Array | float
    followed: Followed
    inside: bool
    fits: bool

    @property
    def border(self) -> tuple[str, str, str]:
        """The tensors that it reads and makes, and where that is compared."""
        return self.node.source, self.node.output, self.followed.tensor

    def from_relax(self, weights: Array) -> Array:
        """Weights as ONNX has them."""
        return np.ascontiguousarray(weights.T) if self.transposed else weights

    def to_relax(self, weights: Array) -> Array:
        """Weights as Relax has them."""
        return weights.T if self.transposed else weights


def weight_homes(opened: OpenedModel, layers: Mapping[str, Layer]) -> dict[str, Home]:
    """By the names of layers those whose weights are initializers of their own, without a factor behind the product.

    Raises:
        ModelError: weights in other files cannot be read.
    """
    from ...frontends.linear_layers import has_factors, linear_layers
    from ...frontends.readers import readers_of

    graph = opened.proto.graph
    constants = {tensor.name for tensor in graph.initializer}
    readers = readers_of(graph)
    walker = Walker(opened)
    found = {}
    for node in linear_layers(opened):
        layer = layers.get(node.hint)
        shared = readers.uses[node.weights] > 1 or node.source in constants
        if layer is None or shared or has_factors(graph.node[node.index]):
            continue
        transposed = node.operator != "Conv" and node.column == 0
        adds = any(graph.node[node.index].input[2:])
        following = readers.only(node.output)
        bias: tuple[str, Array | float] = (node.bias, 1.0)
        if not adds and following is not None:
            bias = _behind(opened, following, node, constants, readers.uses)
        fits = bool(node.bias) or not adds
        followed = walker.follow(node)
        found[node.hint] = Home(layer, node, transposed, *bias, followed, inside=bool(node.bias), fits=fits)
    return found


def values_of(opened: OpenedModel, names: Sequence[str]) -> dict[str, Array]:
    """The values of initializers."""
    wanted = set(names)
    folder = str(opened.folder or "")
    return {
        tensor.name: np.array(onnx.numpy_helper.to_array(tensor, folder))
        for tensor in opened.proto.graph.initializer
        if tensor.name in wanted
    }


def _behind(
    opened: OpenedModel, node: onnx.NodeProto, layer: LinearLayer, constants: set[str], uses: Mapping[str, int]
) -> tuple[str, Array | float]:
    """The initializer that the node behind a layer adds, a value a column, and the factor before it."""
    if node.op_type == "BatchNormalization" and node.input[0] == layer.output:
        names = list(node.input[1:5])
        if not set(names) <= constants or uses[names[1]] > 1:
            return "", 1.0
        held = values_of(opened, names)
        epsilon = next((each.f for each in node.attribute if each.name == "epsilon"), 1e-5)
        scale, variance = (held[each].astype(np.float64) for each in (names[0], names[3]))
        return names[1], scale / np.sqrt(variance + epsilon)
    if node.op_type == "Add":
        name = next((each for each in node.input if each in constants), "")
        if name and uses[name] == 1 and _by_column(opened, name, layer):
            return name, 1.0
    return "", 1.0


def _by_column(opened: OpenedModel, name: str, layer: LinearLayer) -> bool:
    """Whether an initializer has one value for each column of a layer, and for nothing else."""
    shapes: dict[str, tuple[Any, ...]] = {tensor.name: tuple(tensor.dims) for tensor in opened.proto.graph.initializer}
    shape, weights = shapes[name], shapes[layer.weights]
    columns = weights[layer.column]
    spatial = len(weights) - 2 if layer.operator == "Conv" else 0
    long = [place for place, size in enumerate(shape) if size != 1]
    return long == [len(shape) - 1 - spatial] and shape[long[0]] == columns

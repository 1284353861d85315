"""What calibration works on: a model that was opened, its layers, and their tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..library.artifact import CompiledModel
from ..recipes.identity import restricted
from ..recipes.recipe import Array, Recipe
from .tapped import MOST_BYTES, Tapped, Workshop, bytes_of, groups, tapped

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.linear_layers import LinearLayer


@dataclass(frozen=True)
class Network:
    """A model and the layers of it that integers may compute.

    Attributes:
        opened: the model.
        layers: in order.
        outputs: names of what the model gives.
        sizes: bytes of tensors by name.
    """

    opened: OpenedModel
    layers: tuple[LinearLayer, ...]
    outputs: tuple[str, ...]
    sizes: Mapping[str, int]

    @property
    def roots(self) -> list[str]:
        """The tensors that are quantized, each once."""
        return list(dict.fromkeys(root for layer in self.layers for root in layer.reads.values()))

    @property
    def bytes(self) -> int:
        """Of the tensors of one sample that layers read and make."""
        return sum(self.sizes.get(name, 0) for name in self.border)

    @property
    def symmetric(self) -> set[str]:
        """The tensors whose range has to be the same on both sides of 0: others are multiplied with them."""
        return {layer.other_root for layer in self.layers if layer.other}

    @property
    def border(self) -> list[str]:
        """The tensors that are quantized, and those that layers read and make."""
        named = (name for layer in self.layers for name in (*layer.reads.values(), *layer.reads, layer.output))
        return list(dict.fromkeys(named))

    def of(self, layers: Sequence[LinearLayer]) -> Network:
        """The same with some of the layers."""
        return replace(self, layers=tuple(layers))


def network_of(opened: OpenedModel, *, tensors: bool = False) -> Network:
    """The network of a model.

    Args:
        tensors: whether products of two tensors are layers, too.
    """
    from ...frontends.linear_layers import linear_layers, products_of_tensors

    found = [*linear_layers(opened), *(products_of_tensors(opened) if tensors else ())]
    layers = tuple(sorted(found, key=lambda layer: layer.index))
    outputs = tuple(value.name for value in opened.proto.graph.output)
    names = [name for layer in layers for name in (*layer.reads, *layer.reads.values(), layer.output)]
    return Network(opened, layers, outputs, bytes_of(opened, names))


def taps_of(shop: Workshop, network: Network, recipe: Recipe | None, name: str) -> Tapped:
    """The whole network that gives all tensors of its border; quantized where there is a recipe."""
    return tapped(shop, network.opened, network.border, network.sizes, recipe, name)


@dataclass(frozen=True)
class Layers:
    """Layers each by itself, on tensors that are given; `offsets` are added to outputs: biases that were corrected."""

    libraries: tuple[CompiledModel, ...]
    offsets: Mapping[str, Array] = field(default_factory=dict)

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """What each layer makes of the tensor that it reads, by the name of its output."""
        from ...frontends.layer_parts import BY_ITSELF

        results: dict[str, Array] = {}
        for library in self.libraries:
            given = {spec.name: values[spec.name] for spec in library.inputs}
            results |= {name.removesuffix(BY_ITSELF): array for name, array in library.run(given).items()}
        return results | {name: results[name] + offset for name, offset in self.offsets.items()}


def layers_of(
    shop: Workshop, network: Network, values: Mapping[str, Array], recipe: Recipe | None, name: str
) -> Layers:
    """Compiles the layers of a network each by itself.

    Args:
        values: arrays of the shapes of all tensors of the border.
        recipe: how they are quantized, whatever that costs in time.
    """
    from ...frontends.layer_parts import layers_by_themselves

    by_output = {layer.output: layer for layer in network.layers}
    sizes = {
        layer.output: sum(values[name].nbytes for name in (layer.output, *layer.reads)) for layer in network.layers
    }
    libraries = []
    for number, group in enumerate(groups(list(by_output), sizes, MOST_BYTES)):
        layers = [by_output[each] for each in group]
        part = layers_by_themselves(network.opened, layers, values)
        own = None if recipe is None else recipe_by_themselves(recipe, layers, part)
        # What pays in the whole network might not pay for one layer.
        libraries.append(replace(shop, always=True).compiled(part, f"{name}{number}", own))
    return Layers(tuple(libraries))


def recipe_by_themselves(recipe: Recipe, layers: Sequence[LinearLayer], part: OpenedModel) -> Recipe:
    """The recipe for layers by themselves: what they read has the entry of the tensor that it was moved from."""
    read = {source: root for layer in layers for source, root in layer.reads.items()}
    tensors = {source: recipe.tensors[root] for source, root in read.items() if root in recipe.tensors}
    return restricted(replace(recipe, tensors=tensors), part)

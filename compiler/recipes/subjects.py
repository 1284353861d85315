"""Which nodes of a model sections of a recipe are about: one for another node is refused, rather than left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ...errors import RecipeError
from ...ir_passes.compression.layer_matrix import can_be_changed
from ...ir_passes.compression.layers import layers_of
from ...ir_passes.core.graph import Graph
from ...ir_passes.core.sources import split
from ...ir_passes.operators.cast_operands import multiplied
from .recipe import (
    ActivationsEntry,
    DropEntry,
    KeepEntry,
    PrecisionEntry,
    RankEntry,
    Recipe,
    SparsityEntry,
    WeightsEntry,
)

if TYPE_CHECKING:
    from ...frontends import ImportedModel, OpenedModel

# Whether a section can be about a node, by the name of the node.
Takes = Callable[[str], bool]

_WHAT: Mapping[type[Any], str] = MappingProxyType(
    {
        WeightsEntry: "a convolution or a product with an initializer",
        ActivationsEntry: "a convolution or a product",
        SparsityEntry: "a convolution or a product with one constant matrix of finite weights",
        RankEntry: "a convolution or a product with one constant matrix of finite weights",
        PrecisionEntry: "a convolution or a product of floats",
        KeepEntry: "the only node of a name",
        DropEntry: "the only node of a name",
    }
)


def check_integers(recipe: Recipe, opened: OpenedModel) -> None:
    """Whether what a recipe has of integers is about nodes of a model that multiply.

    Raises:
        RecipeError: it is about another node.
    """
    from ...frontends.linear_layers import nodes_that_multiply

    found = nodes_that_multiply(opened)
    _check(recipe, {WeightsEntry: lambda name: found.get(name, False), ActivationsEntry: found.__contains__})


def check_layers(recipe: Recipe, imported: ImportedModel) -> None:
    """Whether what a recipe changes are layers of a model, as Relax has it.

    Raises:
        RecipeError: it is about another node.
    """
    graph, hints = Graph.read(imported.module), imported.layers
    layers = layers_of(graph)
    products = {each for var, value in graph.bindings if multiplied(value) for each in split(str(var.name))}

    def changes(name: str) -> bool:
        return hints.get(name) in layers and can_be_changed(layers[hints[name]])

    _check(
        recipe,
        {
            SparsityEntry: changes,
            RankEntry: changes,
            PrecisionEntry: lambda name: hints.get(name) in products,
            KeepEntry: hints.__contains__,
            DropEntry: hints.__contains__,
        },
    )


def _check(recipe: Recipe, takes: Mapping[type[Any], Takes]) -> None:
    for name, sections in recipe.layers.items():
        for section, entry in sections.items():
            if type(entry) in takes and not takes[type(entry)](name):
                raise RecipeError(
                    f"{section!r} is for {_WHAT[type(entry)]}, which this node of the model is not",
                    where=f"{recipe.where}: layer {name!r}",
                )

"""What of a recipe belongs to integers: a layer that stays float keeps the model's own weights, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from .recipe import Recipe, WeightsEntry

if TYPE_CHECKING:
    from ...frontends import OpenedModel


def fitting(recipe: Recipe, opened: OpenedModel, kept_float: Mapping[str, str]) -> Recipe:
    """A recipe without the weights and biases that were corrected for integers of layers which are none.

    What such a bias takes away is what rounding adds, so that a layer of floats would be wrong by it. Nor is a tensor
    multiplied with factors of its channels for layers of floats alone. A recipe that changes the network keeps all: its
    layers were fitted to what is left of others.

    Args:
        kept_float: of layers why they stay float, "" of those that do not, as a compile tells it.
    """
    if not (recipe.arrays or recipe.balance) or not kept_float or recipe.changes_network:
        return recipe
    from ...frontends.linear_layers import linear_layers
    from ...frontends.seams import seams_of

    asked = recipe.entries(WeightsEntry)
    read: dict[bool, set[str]] = {False: set(), True: set()}
    for layer in linear_layers(opened):
        if layer.name in asked:
            read[kept_float.get(layer.name, "-") == ""].update((layer.weights, layer.bias))
    seams = seams_of(opened) if recipe.balance else {}
    idle = {name for name in recipe.balance if not seams[name].is_free and not seams[name].readers & read[True]}
    gone = (read[False] - read[True]) & recipe.arrays.keys()
    if not gone and not idle:
        return recipe
    return replace(
        recipe,
        arrays={name: array for name, array in recipe.arrays.items() if name not in gone},
        balance={name: entry for name, entry in recipe.balance.items() if name not in idle},
    )

"""The part of a recipe that a compile applies: a target makes integers of those layers alone that gain by it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...frontends.linear_layers import computed_before
from ..build import build
from ..options import CompileOptions
from ..recipes.apply import until_integers
from ..recipes.fitting import fitting
from ..recipes.identity import restricted, with_balance
from ..recipes.recipe import FloatEntry, Recipe, WeightsEntry
from ..recipes.shared_scales import shared_entries
from .network import network_of
from .tapped import ALWAYS

if TYPE_CHECKING:
    from ...frontends import OpenedModel


def as_compiled(opened: OpenedModel, recipe: Recipe, options: CompileOptions, *, always: bool) -> Recipe:
    """The recipe without what stays float on a target: those layers say so, and tensors that none else reads go.

    Args:
        options: of the compile.
        always: whether layers become integers whatever that costs in time.
    """
    own = restricted(recipe, opened)
    if not own.entries(WeightsEntry) and not own.products:
        return recipe
    passes = (*options.passes, ALWAYS) if always and own.tensors else options.passes
    asked = replace(options, recipe=own, passes=passes, save_ir=None)
    balanced = with_balance(recipe, opened)
    told = build(balanced, None, asked, stop_after="passes", passes=until_integers).kept_float
    # Nothing is told of a layer that a compile computes once with an earlier one: it is what that one is.
    same = {name: told[first] for name, first in computed_before(balanced).items() if first in told}
    kept = {**same, **told}
    layers = network_of(balanced, tensors=True).layers
    roots = {root for layer in layers if kept.get(layer.name, "-") == "" for root in layer.reads.values()}
    shared = shared_entries(balanced, {name: recipe.tensors[name] for name in roots & set(recipe.tensors)})
    used = {name for name, entry in shared.items() if name in recipe.tensors and recipe.tensors[name].agrees(entry)}
    return replace(
        fitting(recipe, opened, kept),
        tensors={name: entry for name, entry in recipe.tensors.items() if name in used},
        layers={
            name: sections if kept.get(name, "-") == "" else {**sections, "float": FloatEntry("on this target")}
            for name, sections in recipe.layers.items()
        },
    )

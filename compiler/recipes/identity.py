"""Which model a recipe is for: its checksum, and whether the names in the recipe are in it."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from ...errors import RecipeError, RecipeWarning
from .files import recipe_of
from .recipe import AT_RUN_TIME, OF_TENSORS, ActivationsEntry, ModelIdentity, Recipe, WeightsEntry
from .subjects import check_integers

if TYPE_CHECKING:
    from ...frontends import OpenedModel


def identity_of(opened: OpenedModel) -> ModelIdentity:
    """The name and the checksum of a model's file; of one that came without a file, of what it is serialized to."""
    digest = hashlib.sha256()
    if opened.file is not None:
        with opened.file.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    else:
        digest.update(opened.proto.SerializeToString(deterministic=True))
    return ModelIdentity(opened.name, digest.hexdigest())


def check_recipe(recipe: Recipe, opened: OpenedModel) -> None:
    """Whether a recipe can be for a model; a `RecipeWarning` where all its names fit, and the file is another.

    Raises:
        RecipeError: the model has no tensor, layer, weights or channels of a name in it, a node is no such layer, or
            none that could have the activations that the recipe says, or new weights are not finite.
    """
    tensors, layers, weights = names_of(opened)
    for kind, used, known in (
        ("tensor", recipe.tensors, tensors),
        ("layer", recipe.layers, layers),
        ("weights", recipe.arrays, weights),
    ):
        missing = [name for name in used if name not in known]
        if missing:
            near = get_close_matches(missing[0], known, 1)
            raise RecipeError(
                f"the model has no {kind} {missing[0]!r}" + (f", nor {len(missing) - 1} more" if missing[1:] else ""),
                where=f"{recipe.where}, for {opened.where}",
                hint=f"is {near[0]!r} meant?" if near else "the recipe was made for another model",
            )
    strange = [name for name, array in recipe.arrays.items() if not np.isfinite(array).all()]
    if strange:
        raise RecipeError("new weights are not finite", where=f"{recipe.where}: weights {strange[0]!r}")
    check_integers(recipe, opened)
    _check_activations(recipe, opened)
    _check_balance(recipe, opened)
    if recipe.model.sha256 and recipe.model.sha256 != identity_of(opened).sha256:
        kept = "; the weights in it take the place of this one's" if recipe.arrays else ""
        warnings.warn(
            f"{recipe.where} was made for another file than {opened.where}, in which all its names occur, too{kept}",
            RecipeWarning,
            stacklevel=2,
        )


def _check_activations(recipe: Recipe, opened: OpenedModel) -> None:
    """Convolutions have no rows with scales of their own, and what has weights multiplies one tensor alone."""
    from ...frontends.linear_layers import layer_name

    weighted, constants = recipe.entries(WeightsEntry), {tensor.name for tensor in opened.proto.graph.initializer}
    nodes = {layer_name(node): node for node in opened.proto.graph.node}
    for name, entry in recipe.entries(ActivationsEntry).items():
        convolves = nodes[name].op_type.startswith("Conv")
        if entry.scales == AT_RUN_TIME and convolves:
            what, hint = "a convolution has no rows that could have scales at run time", "leave out 'activations'"
        elif entry.scales == AT_RUN_TIME and name not in weighted:
            what, hint = "of a layer with scales at run time the bits of weights are needed", "add 'weights'"
        elif entry.scales == OF_TENSORS and (
            convolves or name in weighted or not constants.isdisjoint(nodes[name].input[:2])
        ):
            what, hint = "it is no product of two tensors", "leave out 'activations'"
        else:
            continue
        raise RecipeError(what, where=f"{recipe.where}: layer {name!r}: activations, for {opened.where}", hint=hint)


def _check_balance(recipe: Recipe, opened: OpenedModel) -> None:
    if not recipe.balance:
        return
    from ...frontends.seams import seams_of

    seams = seams_of(opened)
    for name, entry in recipe.balance.items():
        where = f"{recipe.where}: balance of {name!r}, for {opened.where}"
        if name not in seams:
            what = "the model has no such channels that could be balanced"
            raise RecipeError(what, where=where, hint=f"it has: {', '.join(seams) or 'none'}")
        if len(entry.factors) != seams[name].channels:
            what = f"{len(entry.factors)} factors are given for {seams[name].channels} channels"
            raise RecipeError(what, where=where)


def with_recipe(
    given: str | os.PathLike[str] | Recipe | None, opened: OpenedModel
) -> tuple[Recipe | None, OpenedModel]:
    """A recipe, read and checked against a model, and the model with the weights that it replaces.

    Raises:
        RecipeError, UnsupportedVersionError: as `read_recipe` and `check_recipe`.
        ModelError: weights have another shape or dtype.
    """
    recipe = recipe_of(given)
    if recipe is None:
        return None, opened
    check_recipe(recipe, opened)
    return recipe, with_its_weights(recipe, opened)


def with_its_weights(recipe: Recipe, opened: OpenedModel) -> OpenedModel:
    """A model with its channels balanced as a recipe says, and then with the weights that it replaces.

    Raises:
        ModelError: weights have another shape or dtype, or there are no such channels.
    """
    from ...frontends.replaced_weights import with_weights

    return with_weights(with_balance(recipe, opened), recipe.arrays)


def with_balance(recipe: Recipe, opened: OpenedModel) -> OpenedModel:
    """A model with its channels balanced as a recipe says: it computes the same.

    Raises:
        ModelError: there are no such channels.
    """
    from ...frontends.seams import balanced

    return balanced(opened, {name: np.array(entry.factors) for name, entry in recipe.balance.items()})


def restricted(recipe: Recipe, opened: OpenedModel) -> Recipe:
    """The part of a recipe that is about what is in a model: in a part of the one that it was made for.

    Channels are not balanced once more: of a part, whoever cut it has done so.
    """
    tensors, layers, weights = names_of(opened)
    return replace(
        recipe,
        model=ModelIdentity(),
        tensors={name: entry for name, entry in recipe.tensors.items() if name in tensors},
        layers={name: entry for name, entry in recipe.layers.items() if name in layers},
        arrays={name: array for name, array in recipe.arrays.items() if name in weights},
        balance={},
    )


def names_of(opened: OpenedModel) -> tuple[set[str], set[str], set[str]]:
    """The names of a model's tensors, its layers, and its weights."""
    from ...frontends.linear_layers import layer_name

    graph = opened.proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    tensors = {value.name for value in graph.input} | {name for node in graph.node for name in _named(node.output)}
    layers = {layer_name(node) for node in graph.node}
    return tensors - weights, layers, weights


def _named(names: Iterable[str]) -> Iterator[str]:
    return (name for name in names if name)

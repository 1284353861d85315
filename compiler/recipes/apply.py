"""A recipe as passes: a row for each section says which pass takes it, and where in a compile that stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import RecipeError
from ...ir_passes import (
    CastOperands,
    CutChannels,
    DropBranches,
    Factorize,
    Pass,
    PlacePairs,
    PruneWeights,
    QuantizeWeights,
)
from ...ir_passes.compression.factorize import Rank
from ...ir_passes.compression.prune_weights import Zeros
from ...ir_passes.quantization.pair_plan import Activation
from ...ir_passes.quantization.weight_integers import WeightBits
from ...schedules.narrow import conversion_cycles, gains, saved_cycles
from .recipe import DropEntry, FloatEntry, KeepEntry, PrecisionEntry, RankEntry, Recipe, SparsityEntry, WeightsEntry
from .sections import BLOCKS

if TYPE_CHECKING:
    from ...frontends import ImportedModel
    from ...schedules.templates.template import Chooser

Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class RecipePasses:
    """What a recipe adds to the passes of a compile.

    Attributes:
        first: passes right after import, before all others: those that change shapes and weights.
        quantize: passes before quantized tensors become integers, when operators and layouts are settled.
        products: passes after that, which say what products of floats multiply in.
    """

    first: tuple[Pass, ...] = ()
    quantize: tuple[Pass, ...] = ()
    products: tuple[Pass, ...] = ()


@dataclass(frozen=True)
class Applied:
    """A recipe, the names of the model that it is applied to, and who is told what became of each layer."""

    recipe: Recipe | None
    names: ImportedModel
    tell: Tell = lambda layer, kept_float: None

    def passes(self, decide: Chooser) -> RecipePasses:
        """The passes for a machine; none for what a recipe does not say, or without one."""
        if self.recipe is None:
            return RecipePasses()
        return RecipePasses(
            tuple(each for row in FIRST for each in row(self.recipe, self, decide)),
            tuple(each for row in QUANTIZE for each in row(self.recipe, self, decide)),
            tuple(each for row in PRODUCTS for each in row(self.recipe, self, decide)),
        )


# What makes passes of a section of a recipe.
Row = Callable[[Recipe, Applied, "Chooser"], Sequence[Pass]]


def _pairs(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    names = applied.names
    kept = recipe.entries(FloatEntry)
    layers = {
        names.layers[layer]: WeightBits(entry.bits, entry.granularity)
        for layer, entry in recipe.entries(WeightsEntry).items()
        if layer not in kept and layer in names.layers and entry.granularity not in BLOCKS
    }
    activations = {
        hint: Activation(entry.scale, entry.zero_point, entry.bits)
        for tensor, entry in recipe.tensors.items()
        for hint in names.tensors.get(tensor, ())
    }
    if not layers or not activations:
        return ()
    called = {hint: layer for layer, hint in names.layers.items()}
    return (
        PlacePairs(
            activations,
            layers,
            saved=lambda call: saved_cycles(call, decide),
            cost=lambda tensor, readers: conversion_cycles(tensor, readers, decide.target),
            tell=lambda hint, kept_float: applied.tell(called.get(hint, hint), kept_float),
            operand=decide.target.integer_operand,
        ),
    )


def _dropped(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers = applied.names.layers
    nodes = tuple(layers[name] for name, entry in recipe.entries(DropEntry).items() if entry.drop)
    return (DropBranches(nodes),) if nodes else ()


def _narrower(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers = applied.names.layers
    keep = tuple((layers[name], entry.channels) for name, entry in recipe.entries(KeepEntry).items())
    return (CutChannels(keep),) if keep else ()


def _factored(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers = applied.names.layers
    entries = recipe.entries(RankEntry)
    both = sorted(entries.keys() & recipe.entries(SparsityEntry).keys())
    if both:
        raise RecipeError(
            "a layer of lower rank has no weights of its own that could be zero",
            where=f"{recipe.where}: layer {both[0]!r}",
            hint="it has a rank or a sparsity, not both",
        )
    return (Factorize({layers[name]: Rank(entry.ranks) for name, entry in entries.items()}),) if entries else ()


def _with_zeros(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers, entries = applied.names.layers, recipe.entries(SparsityEntry)
    zeros = {layers[name]: Zeros(entry.pattern, entry.rate) for name, entry in entries.items()}
    return (PruneWeights(zeros),) if zeros else ()


def _weights(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    """Layers whose weights alone are quantized: those of blocks, or all where no tensor is."""
    names = applied.names
    kept = recipe.entries(FloatEntry)
    layers = {
        names.layers[layer]: (entry.bits, BLOCKS.get(entry.granularity, 0))
        for layer, entry in recipe.entries(WeightsEntry).items()
        if layer not in kept and layer in names.layers and (entry.granularity in BLOCKS or not recipe.tensors)
    }
    if not layers:
        return ()
    called = {hint: layer for layer, hint in names.layers.items()}
    return (
        QuantizeWeights(
            gains=lambda call: gains(call, decide.target),
            layers=layers,
            tell=lambda hint, kept_float: applied.tell(called.get(hint, hint), kept_float),
        ),
    )


def _precise(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers = frozenset(applied.names.layers[name] for name in recipe.entries(PrecisionEntry))
    return (CastOperands(gains=lambda call: gains(call, decide.target), layers=layers),) if layers else ()


FIRST: tuple[Row, ...] = (_dropped, _narrower, _factored, _with_zeros, _weights)
QUANTIZE: tuple[Row, ...] = (_pairs,)
PRODUCTS: tuple[Row, ...] = (_precise,)

"""A recipe as passes: a row for each section says which pass takes it, and where in a compile that stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
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
    QuantizeDynamically,
    QuantizeWeights,
)
from ...ir_passes.compression.factorize import Rank
from ...ir_passes.compression.prune_weights import Zeros
from ...ir_passes.quantization.pair_plan import Activation
from ...ir_passes.quantization.weight_integers import WeightBits
from ...ir_types import Expr
from ...schedules.narrow import conversion_cycles, gains, gains_dynamically, saved_cycles
from .dense import WAYS, dense_layers
from .recipe import (
    DropEntry,
    FloatEntry,
    KeepEntry,
    PrecisionEntry,
    RankEntry,
    Recipe,
    SparsityEntry,
    WeightsEntry,
)
from .sections import BLOCKS
from .subjects import check_layers

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
        named: nodes whose results have scales in it.
    """

    first: tuple[Pass, ...] = ()
    quantize: tuple[Pass, ...] = ()
    products: tuple[Pass, ...] = ()
    named: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Applied:
    """A recipe, the names of the model that it is applied to, and who is told what became of each layer."""

    recipe: Recipe | None
    names: ImportedModel
    tell: Tell = lambda layer, kept_float: None

    def passes(self, decide: Chooser) -> RecipePasses:
        """The passes for a machine; none for what a recipe does not say, or without one.

        Raises:
            RecipeError: an entry is about a node that is no such layer, or entries do not go together.
        """
        if self.recipe is None:
            return RecipePasses()
        check_layers(self.recipe, self.names)
        return RecipePasses(
            tuple(each for row in FIRST for each in row(self.recipe, self, decide)),
            tuple(each for row in QUANTIZE for each in row(self.recipe, self, decide)),
            tuple(each for row in PRODUCTS for each in row(self.recipe, self, decide)),
            frozenset(self.activations()),
        )

    def of_node(self, hint: str, kept_float: str) -> None:
        """Passes what became of a layer on, by the layer's name."""
        self.tell(self._called.get(hint, hint), kept_float)

    @cached_property
    def _called(self) -> dict[str, str]:
        return {hint: layer for layer, hint in self.names.layers.items()}

    def activations(self) -> dict[str, Activation]:
        """How tensors are quantized, by the names of the nodes that hold their elements."""
        assert self.recipe is not None
        return {
            hint: Activation(entry.scale, entry.zero_point, entry.bits)
            for tensor, entry in self.recipe.tensors.items()
            for hint in self.names.tensors.get(tensor, ())
        }

    def quantized(self) -> dict[str, WeightsEntry]:
        """The layers whose weights are quantized; of those that have a lower rank it is told that they are not."""
        assert self.recipe is not None
        kept, parts = self.recipe.entries(FloatEntry), self.recipe.entries(RankEntry)
        asked = {
            layer: entry
            for layer, entry in self.recipe.entries(WeightsEntry).items()
            if layer not in kept and layer in self.names.layers
        }
        for layer in asked.keys() & parts.keys():
            self.tell(layer, "it is a product of a lower rank")
        return {layer: entry for layer, entry in asked.items() if layer not in parts}


# What makes passes of a section of a recipe.
Row = Callable[[Recipe, Applied, "Chooser"], Sequence[Pass]]


def _pairs(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    names, dense = applied.names, dense_layers(recipe)
    layers = {
        names.layers[layer]: WeightBits(entry.bits, entry.granularity)
        for layer, entry in applied.quantized().items()
        if layer not in dense
    }
    activations = applied.activations()
    products = frozenset(names.layers[layer] for layer in recipe.products if layer in names.layers)
    if not (layers or products) or not activations:
        return ()
    return (
        PlacePairs(
            activations,
            layers,
            products,
            saved=lambda call: saved_cycles(call, decide),
            cost=lambda tensor, readers: conversion_cycles(tensor, readers, decide.target),
            tell=applied.of_node,
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


def _dense(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    """Layers of which no range is needed."""
    dense, dynamic = dense_layers(recipe), recipe.dynamic
    hints = {layer: applied.names.layers[layer] for layer in applied.quantized() if layer in dense}
    rows = tuple(hint for layer, hint in hints.items() if layer in dynamic)
    weights = {hint: dense[layer] for layer, hint in hints.items() if layer not in dynamic}
    return (
        *([_with_dynamic_rows(rows, applied.of_node, decide)] if rows else []),
        *([QuantizeWeights(gains=_faster(decide), layers=weights, tell=applied.of_node)] if weights else []),
    )


def _precise(recipe: Recipe, applied: Applied, decide: Chooser) -> Sequence[Pass]:
    layers = frozenset(applied.names.layers[name] for name in recipe.entries(PrecisionEntry))
    return (CastOperands(gains=_faster(decide), layers=layers),) if layers else ()


def passes_of_way(way: str | None, tell: Tell, decide: Chooser) -> Sequence[Pass]:
    """The passes of `compile --quantize WAY`: what it says is said of all dense layers with more than a few weights."""
    if way is None:
        return ()
    entries = WAYS[way]
    if "activations" in entries:
        return (_with_dynamic_rows(None, tell, decide),)
    weights: WeightsEntry = entries["weights"]
    return (QuantizeWeights(weights.bits, BLOCKS.get(weights.granularity, 0), _faster(decide), tell=tell),)


def _with_dynamic_rows(layers: Sequence[str] | None, tell: Tell, decide: Chooser) -> Pass:
    return QuantizeDynamically(lambda call: gains_dynamically(call, decide), layers, tell)


def _faster(decide: Chooser) -> Callable[[Expr], bool]:
    return lambda call: gains(call, decide.target)


FIRST: tuple[Row, ...] = (_dropped, _narrower, _factored, _with_zeros, _dense)
QUANTIZE: tuple[Row, ...] = (_pairs,)
PRODUCTS: tuple[Row, ...] = (_precise,)


def until_integers(order: list[Pass]) -> Sequence[Pass]:
    """Of the passes of a compile those up to the last that quantizes a layer: by then all is told of each."""
    makers = (PlacePairs, QuantizeWeights, QuantizeDynamically)
    ends = [index + 1 for index, each in enumerate(order) if isinstance(each, makers)]
    return order[: max(ends, default=0)]

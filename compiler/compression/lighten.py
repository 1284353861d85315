"""Layers of zeros and of low rank, from a model and samples to a recipe: which weights go, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...errors import CutError, UsageError
from ...ir_passes.compression.factorize import Cycles, Rank, factor, multiplications
from ...ir_passes.compression.layer_matrix import can_be_changed, is_product, weights_by_outputs
from ...ir_passes.compression.layers import layers_of
from ...ir_passes.compression.masks import checked_rate, pattern_of
from ...ir_passes.compression.prune_weights import prune
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Array, Sample
from ..options import CompileOptions
from ..recipes.identity import identity_of
from ..recipes.recipe import RankEntry, Recipe, SparsityEntry
from .grams import drifts_of, gram_bytes
from .prune import CRITERIA
from .trial import Trial, trial_of
from .weight_homes import Home, weight_homes

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..process.progress import ProgressCallback

MOST_SAMPLES = 500
# Layers of fewer weights take little time, and first layers with few channels much of the accuracy.
_FEWEST_WEIGHTS, _FEWEST_INPUTS = 1024, 8
_MOST_BYTES = 1 << 29  # of second moments at a time


@dataclass(frozen=True)
class Lightening:
    """What is asked for: zeros, or low rank, of every layer that is worth it.

    Attributes:
        rate: the share of a layer's weights that become zero; or None.
        pattern: in which they do, as `masks.pattern_of` reads it.
        error: what a layer's outputs may lose by a lower rank, as a share of them; or None.
        layers: the names of those that are changed; all, if there are none.
        criterion: by what weights are chosen: ``second-order`` asks the samples, and adjusts those that are kept;
            ``magnitude`` the weights.
        samples: how many are used at most.

    Raises:
        UsageError: a value that none can have.
    """

    rate: float | None = None
    pattern: str = "unstructured"
    error: float | None = None
    layers: tuple[str, ...] = ()
    criterion: str = CRITERIA[0]
    samples: int = MOST_SAMPLES

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.error is None):
            raise UsageError("one of a rate and an error is needed", where="--weights, --low-rank")
        if self.rate is not None:
            checked_rate(self.rate)
            pattern_of(self.pattern)
        if self.error is not None and not 0 < self.error < 1:
            raise UsageError(f"{self.error} is no share", where="--low-rank", hint="a number between 0 and 1")
        if self.criterion not in CRITERIA:
            raise UsageError(f"unknown criterion {self.criterion!r}", hint="one of " + ", ".join(CRITERIA))

    @property
    def needs_samples(self) -> bool:
        """Whether anything is asked of samples."""
        return self.criterion == CRITERIA[0]


@dataclass(frozen=True)
class LighterLayer:
    """What became of a layer.

    Attributes:
        section: what the recipe says of it.
        weights: how many it had, and how many are left.
        errors: of its outputs on the samples, as shares of them: by stage.
    """

    section: SparsityEntry | RankEntry
    weights: tuple[int, int]
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Lighter:
    """What became of a model.

    Attributes:
        recipe: for `compile`.
        layers: by the names of nodes.
        errors: how far the model's outputs are from its own on the samples, after each stage.
    """

    recipe: Recipe
    layers: Mapping[str, LighterLayer]
    errors: Mapping[str, float] = field(default_factory=dict)


def lighten(
    opened: OpenedModel,
    samples: Iterable[Sample],
    asked: Lightening,
    options: CompileOptions,
    tell: ProgressCallback,
    cycles: Cycles = multiplications,
) -> Lighter:
    """Chooses zeros or ranks of layers, and new weights for what is left.

    Args:
        opened: the model.
        samples: of its inputs; none are needed for magnitudes.
        options: with which libraries for this machine are made, that run the samples.
        cycles: what products cost, where ranks are to pay.

    Raises:
        CutError: the model has no such layers.
        ModelError, UnsupportedError, ShapeError: the model cannot be imported or compiled.
        CalibrationError, DataError: of the samples.
    """
    from ... import frontends

    tell("import", 0, 0)
    imported = frontends.load(opened, shapes=options.shapes, bindings=options.bindings)
    homes = _chosen(weight_homes(opened, layers_of(Graph.read(imported.module))), imported.layers, asked.layers, opened)
    change = _Change(asked, cycles, {hint: name for name, hint in imported.layers.items()})
    if not asked.needs_samples:
        for home in homes:
            change(home, None)
        return change.result(opened)
    given = list(islice(samples, asked.samples))
    if not given:
        raise UsageError("there are no samples", where="--calibration")
    with trial_of(opened, homes, options, tell) as trial:
        _change_all(change, homes, trial, given, tell)
        tell("compare outputs", 0, 0)
        errors = {stage: trial.output_error(given, arrays) for stage, arrays in change.arrays.items() if arrays}
    return change.result(opened, errors)


def _chosen(
    homes: Mapping[str, Home], hints: Mapping[str, str], names: Sequence[str], opened: OpenedModel
) -> list[Home]:
    """The layers that are changed, in order."""
    wanted = {hints.get(name, name) for name in names}
    unknown = [name for name in names if hints.get(name, name) not in homes]
    if unknown:
        hint = f"its layers are: {', '.join(homes) or 'none'}"
        raise UsageError(f"the model has no layer {unknown[0]!r} with weights of its own", where="--layer", hint=hint)
    named = set(hints.values())
    found = [
        home
        for name, home in homes.items()
        if name in named and can_be_changed(home.layer) and (name in wanted if names else _is_worth_it(home))
    ]
    if not found:
        raise CutError("the model has no layers whose weights could be changed", where=opened.where)
    return found


def _is_worth_it(home: Home) -> bool:
    weights = home.layer.weights
    inputs = weights.shape[0] if is_product(home.layer) else weights.shape[1]
    return weights.size >= _FEWEST_WEIGHTS and inputs >= _FEWEST_INPUTS


def _change_all(
    change: _Change, homes: Sequence[Home], trial: Trial, samples: Sequence[Sample], tell: ProgressCallback
) -> None:
    """Changes layers in the order in which they run: each makes up for those before it."""
    for number, group in enumerate(groups := _groups(homes)):
        tell("change layers", number, len(groups))
        drifts = drifts_of(group, trial, samples, change.weights)
        for home in group:
            change(home, *drifts[home.layer.name])


def _groups(homes: Sequence[Home]) -> list[list[Home]]:
    """Layers that read the same tensor, as many at a time as their second moments fit memory."""
    groups: list[list[Home]] = []
    room = 0
    for home in sorted(homes, key=lambda each: each.node.index):
        room -= gram_bytes(home)
        if not groups or room < 0 or groups[-1][0].node.source != home.node.source:
            groups.append([])
            room = _MOST_BYTES - gram_bytes(home)
        groups[-1].append(home)
    return groups


class _Change:
    """Changes layers one by one, and keeps what becomes of them.

    Attributes:
        arrays: new weights by the names of initializers, of each stage.
    """

    def __init__(self, asked: Lightening, cycles: Cycles, names: Mapping[str, str]) -> None:
        self._asked, self._cycles, self._names = asked, cycles, names
        self._layers: dict[str, LighterLayer] = {}
        self.arrays: dict[str, dict[str, Array]] = {}

    @property
    def weights(self) -> dict[str, Array]:
        """The weights of layers that are changed already."""
        return list(self.arrays.values())[-1] if self.arrays else {}

    def __call__(self, home: Home, gram: Array | None, cross: Array | None = None) -> None:
        """Changes a layer, by what it reads, and what it read before others changed, where that is known."""
        if self._asked.rate is not None:
            self._zero(home, gram, cross, self._asked.rate)
        else:
            self._factor(home, gram, self._asked.error or 0.0)

    def _zero(self, home: Home, gram: Array | None, cross: Array | None, rate: float) -> None:
        layer, pattern = home.layer, pattern_of(self._asked.pattern)
        plain = prune(layer, pattern, rate)
        pruned = plain if gram is None else prune(layer, pattern, rate, gram, cross)
        if pruned.mask.all():
            return
        size = layer.weights.size
        left = round(size * (1 - pruned.rate))
        stages = () if pruned.errors is None else zip(("by magnitude", "adjusted"), pruned.errors, strict=True)
        # The share of what is zero now: with it a mask by magnitude finds the same zeros again.
        entry = SparsityEntry(self._asked.pattern, pruned.rate)
        self._keep(home, LighterLayer(entry, (size, left), dict(stages)))
        if gram is not None:
            for stage, each in (("by magnitude", plain), ("adjusted", pruned)):
                self._store(stage, home, weights_by_outputs(layer, each.weights))

    def _factor(self, home: Home, gram: Array | None, error: float) -> None:
        layer = home.layer
        factored = factor(layer, Rank(error=error), gram, self._cycles)
        if factored is None:
            return
        left = sum(part.weights.size for part in factored.parts)
        ranks = factored.ranks
        entry = RankEntry(ranks[0] if len(ranks) == 1 else (ranks[0], ranks[1]))
        self._keep(home, LighterLayer(entry, (layer.weights.size, left), {"factored": factored.error}))
        if gram is not None:
            self._store("factored", home, factored.weights.astype(layer.weights.dtype))

    def _keep(self, home: Home, layer: LighterLayer) -> None:
        self._layers[self._names[home.layer.name]] = layer

    def _store(self, stage: str, home: Home, weights: Array) -> None:
        self.arrays.setdefault(stage, {})[home.node.weights] = home.from_relax(weights)

    def result(self, opened: OpenedModel, errors: Mapping[str, float] | None = None) -> Lighter:
        """Everything, with the weights of the last stage."""
        key = "sparsity" if self._asked.rate is not None else "rank"
        sections: dict[str, Mapping[str, Any]] = {name: {key: each.section} for name, each in self._layers.items()}
        return Lighter(Recipe(identity_of(opened), {}, sections, self.weights), self._layers, errors or {})

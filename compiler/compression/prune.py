"""Pruning channels, from a model and samples to a recipe: what goes, what the layers become, what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ...errors import CutError, UsageError
from ...ir_passes.compression.channel_graph import ChannelGraph, channel_graph
from ...ir_passes.compression.channel_groups import Group, channel_groups
from ...ir_passes.compression.choose_channels import Keep, Rank, by_rate, by_work
from ...ir_passes.compression.cut import Cut, cut_layers
from ...ir_passes.compression.importance import Ranking, by_magnitude, by_second_order
from ..calibration.samples import Array, Sample
from ..options import CompileOptions
from ..recipes.identity import identity_of
from ..recipes.recipe import KeepEntry, Recipe
from .grams import gram_bytes, grams_of
from .refit import behind, cut_weights, refitted
from .trial import Trial, trial_of
from .weight_homes import Home, weight_homes

if TYPE_CHECKING:
    from ...frontends import ImportedModel, OpenedModel
    from ..process.progress import ProgressCallback

CRITERIA = ("second-order", "magnitude")
MOST_SAMPLES = 500
_MOST_GRAM_BYTES = 256 << 20


@dataclass(frozen=True)
class Pruning:
    """What is asked for.

    Attributes:
        rate: the share of every group's channels that goes; or None.
        work: the share of the layers' floating point operations that is to be left, whatever goes for it; or None.
        criterion: which channels are missed least: ``second-order`` asks the samples, ``magnitude`` the weights.
        recover: whether the layers are fitted to what they made before.
        round_to: what is left of a layer is a multiple of it, where the layer is wide enough.
        samples: how many are used at most.

    Raises:
        UsageError: a value that none can have.
    """

    rate: float | None = None
    work: float | None = None
    criterion: str = CRITERIA[0]
    recover: bool = True
    round_to: int = 1
    samples: int = MOST_SAMPLES

    @property
    def needs_samples(self) -> bool:
        """Whether anything is asked of samples."""
        return self.recover or self.criterion == CRITERIA[0]

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.work is None):
            raise UsageError("one of a rate and a share of the work is needed", where="--channels, --work")
        for option, share in (("--channels", self.rate), ("--work", self.work)):
            if share is not None and not 0 < share < 1:
                raise UsageError(f"{share} is no share", where=option, hint="a number between 0 and 1")
        if self.criterion not in CRITERIA:
            raise UsageError(f"unknown criterion {self.criterion!r}", hint="one of " + ", ".join(CRITERIA))


@dataclass(frozen=True)
class Pruned:
    """What became of a model.

    Attributes:
        recipe: for `compile`.
        layers: by name, the output channels that a layer had and those that are left.
        flops: of all layers, before and after.
        weights: how many all layers have, before and after.
        errors: how far the outputs are from the model's own on the samples, after each stage.
    """

    recipe: Recipe
    layers: Mapping[str, tuple[int, int]]
    flops: tuple[int, int]
    weights: tuple[int, int]
    errors: Mapping[str, float] = field(default_factory=dict)


def prune(
    opened: OpenedModel,
    samples: Iterable[Sample],
    asked: Pruning,
    options: CompileOptions,
    tell: ProgressCallback,
) -> Pruned:
    """Chooses channels to cut, and new weights for what is left.

    Args:
        opened: the model.
        samples: of its inputs; none are needed for magnitudes without recovery.
        options: with which libraries for this machine are made, that run the samples.

    Raises:
        CutError: no channels can be cut.
        ModelError, UnsupportedError, ShapeError: the model cannot be imported or compiled.
        CalibrationError, DataError: of the samples.
    """
    from ... import frontends

    tell("import", 0, 0)
    imported = frontends.load(opened, shapes=options.shapes, bindings=options.bindings)
    channels = channel_graph(imported.module)
    # A recipe speaks of layers by the names of nodes; what no name reaches, stays.
    named = set(imported.layers.values())
    groups = [group for group in channel_groups(channels) if named & set(group.channels)]
    if not any(group.can_be_cut for group in groups):
        raise CutError(
            "no channels of the model can be cut", where=opened.where, hint="`tilewright inspect --channels` says why"
        )
    homes = weight_homes(opened, channels.layers)
    if not asked.needs_samples:
        keep = _chosen(channels, groups, asked, by_magnitude_of(channels))
        return _pruned(opened, imported, cut_layers(channels, keep), keep, {}, {})
    given = list(islice(samples, asked.samples))
    if not given:
        raise UsageError("there are no samples", where="--calibration")
    with trial_of(opened, list(homes.values()), options, tell) as trial:
        rank = by_magnitude_of(channels)
        if asked.criterion == CRITERIA[0]:
            rank = _by_samples(channels, groups, homes, trial, given, tell)
        keep = _chosen(channels, groups, asked, rank)
        cut = cut_layers(channels, keep)
        tell("compare outputs", 0, 0)
        arrays = cut_weights(list(homes.values()), cut)
        errors = {"pruned": trial.output_error(given, arrays)}
        arrays = {}
        if asked.recover:
            arrays = refitted(trial, given, list(homes.values()), behind(homes, cut), cut, tell)
            tell("compare outputs", 0, 0)
            errors["recovered"] = trial.output_error(given, arrays)
    return _pruned(opened, imported, cut, keep, arrays, errors)


def by_magnitude_of(channels: ChannelGraph) -> Rank:
    """Ranks by weights alone."""
    return lambda group, steps: by_magnitude(channels, group, steps)


def _chosen(channels: ChannelGraph, groups: Sequence[Group], asked: Pruning, rank: Rank) -> Keep:
    if asked.rate is not None:
        return by_rate(channels, groups, rank, asked.rate, asked.round_to)
    assert asked.work is not None
    return by_work(channels, groups, rank, asked.work, asked.round_to)


def _by_samples(
    channels: ChannelGraph,
    groups: Sequence[Group],
    homes: Mapping[str, Home],
    trial: Trial,
    samples: Sequence[Sample],
    tell: ProgressCallback,
) -> Rank:
    """Ranks by the second order; where all Gram matrices need too much memory, those of a group's readers by turns."""
    known: dict[str, Array] = {}
    readers = {name for group in groups for name in group.inputs if name in homes}
    if sum(gram_bytes(homes[name]) for name in readers) <= _MOST_GRAM_BYTES:
        tell("rank channels", 0, 0)
        known = grams_of([homes[name] for name in sorted(readers)], trial, samples)

    def rank(group: Group, steps: Sequence[int]) -> Ranking:
        tell("rank channels", 0, 0)
        if not set(group.inputs) <= readers:
            return by_magnitude(channels, group, steps)
        grams = known or grams_of([homes[name] for name in group.inputs], trial, samples)
        return by_second_order(channels, group, steps, grams)

    return rank


def _pruned(
    opened: OpenedModel,
    imported: ImportedModel,
    cut: Cut,
    keep: Keep,
    arrays: Mapping[str, Array],
    errors: Mapping[str, float],
) -> Pruned:
    from ...ir_passes.compression.cut_channels import without
    from ...ir_passes.compression.layers import layers_of
    from ...ir_passes.core.graph import Graph

    before = cut.channels.layers
    after = layers_of(Graph.read(without(imported.module, cut).module))
    named: dict[str, str] = {hint: name for name, hint in imported.layers.items()}
    sections: dict[str, Mapping[str, Any]] = {
        named[name]: {"keep_channels": KeepEntry(kept)} for name, kept in keep.items() if name in named
    }
    return Pruned(
        replace(Recipe(), model=identity_of(opened), layers=sections, arrays=dict(arrays)),
        {name: (layer.outputs, after[name].outputs) for name, layer in before.items() if name in after},
        (sum(layer.flops for layer in before.values()), sum(layer.flops for layer in after.values())),
        (sum(layer.weights.size for layer in before.values()), sum(layer.weights.size for layer in after.values())),
        dict(errors),
    )

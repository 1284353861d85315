"""What is asked of pruning, and what comes of it: the same for channels, zeros and low rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...ir_passes.compression.drop_branches import DropBranches
from ...ir_passes.compression.importance import Ranking
from ...ir_passes.compression.masks import UNSTRUCTURED, pattern_of
from ..calibration.samples import Array, Sample
from ..recipes.recipe import Recipe
from .trial import Trial

if TYPE_CHECKING:
    from ...frontends import ImportedModel, OpenedModel
    from ...ir_passes.compression.cut import Cut
    from ...ir_passes.compression.factorize import Cycles
    from ..process.progress import ProgressCallback
    from .weight_homes import Home

CRITERIA = ("second-order", "magnitude")
MOST_SAMPLES = 500
EPOCHS = 20  # of distillation
# The wishes, by the options that state them.
STRUCTURED = {"channels": "--channels", "work": "--work", "heads": "--heads"}
BRANCHES = {"branches": "--branches"}
WITHIN_LAYERS = {"weights": "--weights", "low_rank": "--low-rank"}
# What decides of the same channels.
_NOT_TOGETHER = (("channels", "work"), ("work", "heads"))
# What only says more of a wish: its option, and the wishes that it is for.
_FURTHER = {"pattern": ("--pattern", ("weights",)), "round_to": ("--round-to", tuple(STRUCTURED))}
_WISHES = "--work SHARE, or --channels RATE and --heads RATE, cut; --weights RATE and --low-rank ERROR change layers"


@dataclass(frozen=True)
class Pruning:
    """What is asked for.

    Attributes:
        channels: the share of every group's channels that goes; or None.
        work: the share of the layers' floating point operations that is to be left, whatever goes for it; or None.
        heads: the share of every attention's heads that goes; or None: as `channels` has it.
        branches: how many residual branches go; or None.
        weights: the share of a layer's weights that become zero; or None.
        pattern: in which they do, as `masks.pattern_of` reads it; None where nothing is said.
        low_rank: what a layer's outputs may lose by a lower rank, as a share of them; or None. With `weights`, layers
            that are no faster for a lower rank get zeros. Both change what a cut of channels leaves.
        layers: the names of those that are changed; all that are worth it, if there are none.
        criterion: what is missed least: ``second-order`` asks the samples, ``magnitude`` the weights.
        recover: whether what is kept is fitted to what layers made before; parts of a low rank are not.
        distill: whether all layers learn together, at last, to make what the model makes.
        epochs: how often each sample is learned from.
        round_to: what is left of a layer's channels is a multiple of it, where the layer is wide enough; or None.
        samples: how many are used at most.

    Raises:
        UsageError: a value that none can have, or two that do not go together.
    """

    channels: float | None = None
    work: float | None = None
    heads: float | None = None
    branches: int | None = None
    weights: float | None = None
    pattern: str | None = None
    low_rank: float | None = None
    layers: tuple[str, ...] = ()
    criterion: str = CRITERIA[0]
    recover: bool = True
    distill: bool = False
    epochs: int = EPOCHS
    round_to: int | None = None
    samples: int = MOST_SAMPLES

    def __post_init__(self) -> None:
        structured, within = self._given(STRUCTURED), self._given(WITHIN_LAYERS)
        if not structured and not within and self.branches is None:
            raise UsageError("nothing says what goes", where=", ".join(_OPTIONS.values()), hint=_WISHES)
        for names in _NOT_TOGETHER:
            if set(names) <= set(structured):
                both = ", ".join(_OPTIONS[name] for name in names)
                raise UsageError("these do not go together", where=both, hint=_WISHES)
        for name in (*structured, *within):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise UsageError(f"{share} is no share", where=_OPTIONS[name], hint="a number between 0 and 1")
        for name, (option, wishes) in _FURTHER.items():
            if getattr(self, name) is not None and not self._given(wishes):
                needed = " or ".join(_OPTIONS[wish] for wish in wishes)
                raise UsageError(f"{option} says more of {needed}, which is not given", where=option)
        if self.branches is not None and self.branches < 1:
            raise UsageError(f"{self.branches} is no number of branches", where="--branches", hint="1 or more")
        if self.pattern is not None:
            pattern_of(self.pattern)
        if self.round_to is not None and self.round_to < 1:
            raise UsageError(f"{self.round_to} is no number of channels", where="--round-to", hint="1 or more")
        if self.samples < 1:
            raise UsageError(f"{self.samples} is no number of samples", where="--samples", hint="1 or more")
        if self.epochs < 1:
            raise UsageError(f"{self.epochs} is no number of epochs", where="--epochs", hint="1 or more")
        if self.criterion not in CRITERIA:
            hint = "one of " + ", ".join(CRITERIA)
            raise UsageError(f"unknown criterion {self.criterion!r}", where="--criterion", hint=hint)

    def _given(self, names: Sequence[str] | Mapping[str, str]) -> list[str]:
        return [name for name in names if getattr(self, name) is not None]

    def options(self, wishes: Mapping[str, str]) -> list[str]:
        """The options of those of some wishes that are stated."""
        return [wishes[name] for name in self._given(wishes)]

    @property
    def is_structured(self) -> bool:
        """Whether whole channels go."""
        return bool(self._given(STRUCTURED))

    @property
    def is_within_layers(self) -> bool:
        """Whether weights of layers change."""
        return bool(self._given(WITHIN_LAYERS))

    @property
    def needs_samples(self) -> bool:
        """Whether anything is asked of samples."""
        recovers = self.recover and (self.is_structured or self.weights is not None)
        return self.criterion == CRITERIA[0] or recovers or self.distill or self.branches is not None

    @property
    def zeros(self) -> str:
        """The pattern of zeros, said or not."""
        return self.pattern or UNSTRUCTURED

    def for_vectors(self, lanes: int) -> Pruning:
        """The same for vectors of so many elements: whole ones go and stay, where nothing else is said."""
        round_to = self.round_to or (lanes if self.is_structured else None)
        pattern = self.pattern or (f"{lanes}x1" if self.weights is not None else None)
        return replace(self, round_to=round_to, pattern=pattern)


_OPTIONS = {**STRUCTURED, **BRANCHES, **WITHIN_LAYERS}


# Of a group, by the name of its first layer, the steps in which it is cut, and whether groups are compared.
Rankings = dict[tuple[str, tuple[int, ...], bool], Ranking]


@dataclass(frozen=True)
class Subject:
    """A model that is pruned.

    Attributes:
        opened, imported: the model, as ONNX and as Relax.
        asked: what is done to it.
        cycles: what products cost, where ranks are to pay.
        tell: told of progress.
        rankings: of groups of channels, what is known of them by now.
    """

    opened: OpenedModel
    imported: ImportedModel
    asked: Pruning
    cycles: Cycles
    tell: ProgressCallback
    rankings: Rankings = field(default_factory=dict)

    def name(self, hint: str) -> str | None:
        """The name of the node that a layer came from, by which recipes speak of it; None where no name reaches it."""
        return self._names.get(hint)

    def without(self, branches: Sequence[str]) -> Subject:
        """The same of the model without the branches that layers are in, named as Relax has them."""
        module = DropBranches(tuple(branches))(self.imported.module).module
        return replace(self, imported=replace(self.imported, module=module), rankings={})

    @cached_property
    def _names(self) -> dict[str, str]:
        return {hint: name for name, hint in self.imported.layers.items()}

    def wanted(self, known: Mapping[str, Any]) -> set[str]:
        """The layers that are asked for by name, as Relax has them.

        Raises:
            UsageError: one is not among those known.
        """
        hints = {name: self.imported.layers.get(name, name) for name in self.asked.layers}
        for name, hint in hints.items():
            if hint not in known:
                said = f"its layers are: {', '.join(self.name(each) or each for each in known) or 'none'}"
                raise UsageError(f"the model has no layer {name!r} with weights of its own", where="--layer", hint=said)
        return set(hints.values())


@dataclass(frozen=True)
class Data:
    """A library of the model whose weights can be changed, and samples of its inputs."""

    trial: Trial
    samples: Sequence[Sample]


@dataclass(frozen=True)
class PrunedLayer:
    """What became of a layer.

    Attributes:
        made: what it is now: the names of facts as a recipe has them, with their values.
        weights: how many it had, and how many are left.
        flops: of a run, before and after.
        errors: of its outputs on the samples, as shares of them: by stage.
    """

    made: Mapping[str, Any]
    weights: tuple[int, int]
    flops: tuple[int, int]
    errors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """What a way to prune makes of a model.

    Attributes:
        layers: those that changed, by the names of nodes.
        sections: what a recipe says of layers.
        arrays: new weights by the names of initializers.
        stages: those that the outputs are compared with, of each stage: the whole network with them computes what the
            changed one does.
        cut: what is left of channels; None where all are.
        gone: layers of the model that went with their branches.
    """

    layers: Mapping[str, PrunedLayer] = field(default_factory=dict)
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)
    stages: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    cut: Cut | None = None
    gone: tuple[Home, ...] = ()

    @property
    def weights(self) -> Mapping[str, Array]:
        """Those of the last stage."""
        stages = [*self.stages.values()]
        return stages[-1] if stages else {}

    def then(self, more: Change) -> Change:
        """This, and a change of what it leaves."""
        layers = {name: _both(self.layers.get(name), more.layers.get(name)) for name in {**self.layers, **more.layers}}
        sections = {
            name: {**self.sections.get(name, {}), **more.sections.get(name, {})}
            for name in {**self.sections, **more.sections}
        }
        arrays = {**self.arrays, **more.arrays}
        # A stage that comes again stands where it comes last.
        stages = {stage: each for stage, each in self.stages.items() if stage not in more.stages}
        stages |= more.stages
        return Change(layers, sections, arrays, stages, more.cut or self.cut, (*self.gone, *more.gone))


NO_CHANGE = Change()


def _both(first: PrunedLayer | None, then: PrunedLayer | None) -> PrunedLayer:
    if first is None or then is None:
        found = first or then
        assert found is not None
        return found
    return PrunedLayer(
        {**first.made, **then.made},
        (first.weights[0], then.weights[1]),
        (first.flops[0], then.flops[1]),
        {**first.errors, **then.errors},
    )


@dataclass(frozen=True)
class Pruned:
    """What became of a model.

    Attributes:
        recipe: for `compile`.
        layers: those that changed, by the names of nodes.
        flops: of all layers, before and after.
        weights: how many all layers have, before and after.
        errors: how far the outputs are from the model's own on the samples, after each stage.
        agreement: how often their largest values are where the model's are, after each stage; empty where outputs are
            single numbers.
    """

    recipe: Recipe
    layers: Mapping[str, PrunedLayer]
    flops: tuple[int, int]
    weights: tuple[int, int]
    errors: Mapping[str, float] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)

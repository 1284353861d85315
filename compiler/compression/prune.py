"""Pruning, from a model and samples to a recipe: channels that go, weights that become zero, layers of low rank."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...ir_passes.compression.factorize import Cycles, multiplications
from ..calibration.samples import Sample
from ..options import CompileOptions
from ..ranges import static_shapes
from ..recipes.identity import identity_of
from ..recipes.recipe import Recipe
from .prune_channels import PruneChannels
from .prune_layers import PruneLayers
from .pruning import Change, Data, Pruned, Pruning, Subject, Way
from .trial import trial_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..process.progress import ProgressCallback


def prune(
    opened: OpenedModel,
    samples: Iterable[Sample],
    asked: Pruning,
    options: CompileOptions,
    tell: ProgressCallback,
    cycles: Cycles = multiplications,
) -> Pruned:
    """Chooses what goes, and new weights for what is left.

    Args:
        opened: the model.
        samples: of its inputs; none are needed for magnitudes without recovery.
        options: with which libraries for this machine are made, that run the samples.
        cycles: what products cost, where ranks are to pay.

    Raises:
        CutError: nothing of the model can be changed so.
        UsageError: samples are needed and there are none, or there is no such layer.
        ModelError, UnsupportedError, ShapeError: the model cannot be imported or compiled.
        CalibrationError, DataError: of the samples.
    """
    from ... import frontends

    tell("import", 0, 0)
    imported = frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings)
    subject = Subject(opened, imported, asked, cycles, tell)
    way: Way = PruneChannels(subject) if asked.is_structured else PruneLayers(subject)
    if not asked.needs_samples:
        return _pruned(subject, way, way(None), {})
    given = list(islice(samples, asked.samples))
    if not given:
        raise UsageError("there are no samples", where="--calibration")
    with trial_of(opened, way.homes, options, tell) as trial:
        change = way(Data(trial, given))
        tell("compare outputs", 0, 0)
        errors = {stage: trial.output_error(given, arrays) for stage, arrays in change.stages.items()}
    return _pruned(subject, way, change, errors)


def _pruned(subject: Subject, way: Way, change: Change, errors: dict[str, float]) -> Pruned:
    changed, layers = change.layers.values(), way.layers.values()
    flops, weights = sum(each.flops for each in layers), sum(each.weights.size for each in layers)
    return Pruned(
        Recipe(model=identity_of(subject.opened), layers=change.sections, arrays=change.arrays),
        change.layers,
        (flops, flops - sum(each.flops[0] - each.flops[1] for each in changed)),
        (weights, weights - sum(each.weights[0] - each.weights[1] for each in changed)),
        errors,
    )

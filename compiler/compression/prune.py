"""Pruning, from a model and samples to a recipe: branches and channels that go, weights that become zero, low rank.

In this order, each on what the one before it leaves: a channel that goes has no weights that could be zero. At last all
layers learn together, where that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...ir_passes.compression.factorize import Cycles, multiplications
from ...ir_passes.compression.layers import Layer, layers_of
from ...ir_passes.core.graph import Graph
from ..calibration.samples import Sample
from ..extents.ranges import static_shapes
from ..options import CompileOptions
from ..recipes.identity import identity_of
from ..recipes.recipe import RankEntry, Recipe
from .distill import distilled, norm_parameters
from .prune_branches import PruneBranches
from .pruning import NO_CHANGE, Change, Data, Pruned, Pruning, Rankings, Subject
from .together import channels_after, check_together, layers_after
from .trial import Closeness, trial_of
from .weight_homes import weight_homes

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ..calibration.tapped import Workshop
    from ..process.progress import ProgressCallback

_DISTILLED = "distilled"


def prune(
    opened: OpenedModel,
    samples: Iterable[Sample],
    asked: Pruning,
    options: CompileOptions,
    tell: ProgressCallback,
    cycles: Cycles = multiplications,
    shop: Workshop | None = None,
    rankings: Rankings | None = None,
) -> Pruned:
    """Chooses what goes, and new weights for what is left.

    Args:
        opened: the model.
        samples: of its inputs; none are needed for magnitudes without recovery.
        options: with which libraries for this machine are made, that run the samples.
        cycles: what products cost, where ranks are to pay.
        shop: what these libraries are made with, where several models are made of one; None: its own.
        rankings: what calls with the same model, samples and criterion found of groups of channels; it is added to.

    Raises:
        CutError: nothing of the model can be changed so.
        UsageError: samples are needed and there are none, or there is no such layer.
        ModelError, UnsupportedError, ShapeError: the model cannot be imported or compiled.
        CalibrationError, DataError: of the samples.
    """
    from ... import frontends

    tell("import", 0, 0)
    imported = frontends.load(opened, shapes=static_shapes(options), bindings=options.bindings)
    subject = Subject(opened, imported, asked, cycles, tell, {} if rankings is None else rankings)
    layers = layers_of(Graph.read(imported.module))
    # What cannot be is told before anything is compiled.
    branches = PruneBranches(subject) if asked.branches is not None else None
    check_together(subject, branches)
    if not asked.needs_samples:
        return _pruned(subject, layers, _changed(subject, None)[1], {})
    given = list(islice(samples, asked.samples))
    if not given:
        raise UsageError("there are no samples", where="--calibration")
    homes = [*weight_homes(opened, layers).values()]
    if branches is None and not asked.is_structured and not asked.distill:
        homes = layers_after(subject, NO_CHANGE).homes
    more = () if branches is None else branches.tensors
    lifted = [*norm_parameters(opened)] if asked.distill else []
    with trial_of(opened, homes, options, tell, more, lifted, shop) as trial:
        left, change = _changed(subject, Data(trial, given))
        if asked.distill:
            change = change.then(_learned(left, change, given, options))
        tell("compare outputs", 0, 0)
        close = {stage: trial.compared(given, arrays) for stage, arrays in change.stages.items()}
    return _pruned(subject, layers, change, close)


def _changed(subject: Subject, data: Data | None) -> tuple[Subject, Change]:
    """What becomes of a model, way after way, and the model that is left once branches are gone."""
    asked, change = subject.asked, NO_CHANGE
    if asked.branches is not None and data is not None:
        change = PruneBranches(subject)(data)
        subject = subject.without([subject.imported.layers[name] for name in change.sections])
    if asked.is_structured:
        change = change.then(channels_after(subject, change)(data))
    if asked.is_within_layers:
        change = change.then(layers_after(subject, change)(data))
    return subject, change


def _learned(subject: Subject, change: Change, samples: Sequence[Sample], options: CompileOptions) -> Change:
    """Distillation of what a change leaves; layers of low rank stay as they are, and branches that are gone."""
    opened = subject.opened
    homes = [*weight_homes(opened, layers_of(Graph.read(subject.imported.module))).values()]
    factored = {
        name
        for name, sections in change.sections.items()
        if any(isinstance(entry, RankEntry) for entry in sections.values())
    }
    still = {home.node.weights for home in homes if subject.name(home.layer.name) in factored}
    silent = {tensor for home in change.gone for tensor in home.followed.branch}
    still |= {name for node in opened.proto.graph.node if silent & set(node.output) for name in node.input}
    cut = change.cut
    kept = {} if cut is None else {home.layer.name: cut.mask(cut.channels.result(home.layer)) for home in homes}
    epochs, tell = subject.asked.epochs, subject.tell
    arrays = distilled(opened, homes, frozenset(still), kept, samples, change.weights, epochs, options, tell)
    return Change(arrays=arrays, stages={_DISTILLED: arrays})


def _pruned(subject: Subject, layers: Mapping[str, Layer], change: Change, close: Mapping[str, Closeness]) -> Pruned:
    changed = change.layers.values()
    gone = {name for home in change.gone for name in (home.node.weights, home.bias)}
    arrays = {name: array for name, array in change.arrays.items() if name not in gone}
    flops, weights = sum(each.flops for each in layers.values()), sum(each.weights.size for each in layers.values())
    return Pruned(
        Recipe(model=identity_of(subject.opened), layers=change.sections, arrays=arrays),
        change.layers,
        (flops, flops - sum(each.flops[0] - each.flops[1] for each in changed)),
        (weights, weights - sum(each.weights[0] - each.weights[1] for each in changed)),
        {stage: each.error for stage, each in close.items()},
        {stage: each.agreement for stage, each in close.items() if each.agreement is not None},
    )

"""`quantize --weights-only` and `--dynamic`: dense layers of which no range is needed, measured on samples if any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from ...ir_passes.quantization.quantize_weights import FEWEST_WEIGHTS
from ..build import build
from ..extents.ranges import static_shapes
from ..process.progress import ProgressCallback
from ..recipes.apply import until_integers
from ..recipes.dense import DENSE, WAYS
from ..recipes.identity import identity_of
from ..recipes.recipe import Recipe
from .findings import Findings, LayerFinding
from .network import Network, layers_of, network_of, taps_of
from .quantize import LEAST_SAMPLES, Clock, Request, Work, check_layers, corrections_for, with_floats
from .samples import checked_samples
from .split import Split
from .tapped import input_specs, workshop_of
from .timing import NO_COST


def quantize_dense(
    model: Any,
    way: str,
    data: Any = None,
    request: Request | None = None,
    tell: ProgressCallback = lambda stage, done, total: None,
) -> Findings:
    """A recipe for the dense layers of a model.

    Args:
        model: as `frontends.open` takes it.
        way: one of `WAYS`.
        data: as `samples_of` takes it: then layers that lose too much stay float, and errors are measured. None: every
            layer is in the recipe, and what is told is which of them the machine computes faster so.
        request: how; bits and granularity are the way's.
        tell: called as tell(stage, done, total).

    Raises:
        UsageError: the model has no dense layers, or none of a name that should stay float.
        CalibrationError, DataError, ModelError, ShapeError, UnsupportedError: as `quantize`.
    """
    from ... import frontends

    asked = request or Request()
    opened = frontends.open(model, frontends.Request(shapes=static_shapes(asked.options)))
    whole = _dense_part(network_of(opened))
    check_layers(whole, asked)
    recipe = Recipe(identity_of(opened), layers={layer.name: WAYS[way] for layer in whole.layers})
    recipe = with_floats(recipe, dict.fromkeys(asked.keep_float, "asked for"))
    if data is None:
        tell("import", 0, 0)
        options = replace(asked.options, recipe=recipe, save_ir=None)
        made = build(opened, None, options, stop_after="passes", passes=until_integers)
        return _without_samples(whole, asked, recipe, made.kept_float, made.target.cpu)
    network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
    clock = Clock()
    with workshop_of(asked.options, tell) as shop:
        tell("read samples", 0, 0)
        split = Split(checked_samples(data, input_specs(opened, asked.options), asked.images, LEAST_SAMPLES))
        for number, _ in enumerate(split):
            tell("read samples", number, 0)
        exact = taps_of(shop, network, None, "exact")
        values = exact.all(split.kept[0])
        layers = layers_of(shop, network, values, None, "exact_layers")
        corrections = corrections_for(shop, opened, asked, WAYS[way]["weights"], tell)
        work = Work(shop, opened, whole, network, asked, split, exact, layers, values, corrections, tell, clock)
        findings = work.finished(recipe, {})
    corrections.forget()
    return findings


def _dense_part(network: Network) -> Network:
    shapes = {tensor.name: tensor.dims for tensor in network.opened.proto.graph.initializer}
    return network.of(
        [layer for layer in network.layers if layer.operator in DENSE and prod(shapes[layer.weights]) >= FEWEST_WEIGHTS]
    )


def _without_samples(
    network: Network, asked: Request, recipe: Recipe, kept: Mapping[str, str], target: str
) -> Findings:
    reasons = dict.fromkeys(asked.keep_float, "asked for")
    layers = tuple(
        LayerFinding(
            layer.name,
            layer.operator,
            layer.root,
            reasons.get(layer.name, kept.get(layer.name, "it became part of another")),
        )
        for layer in network.layers
    )
    return Findings(network.opened.name, recipe, layers, (), None, NO_COST, NO_COST, 0, 0, target)

"""`quantize --weights-only` and `--dynamic`: dense layers of which no range is needed, measured on samples if any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import Any

from ...ir_passes.quantization.quantize_weights import FEWEST_WEIGHTS
from ..build import build
from ..extents.ranges import static_shapes
from ..process.progress import ProgressCallback
from ..recipes.apply import until_integers
from ..recipes.dense import DENSE
from ..recipes.identity import identity_of
from ..recipes.recipe import Recipe
from .findings import Findings, LayerFinding
from .network import Network, layers_of, network_of, taps_of
from .quantize import LEAST_SAMPLES, check_layers, corrections_for, shop_for
from .request import Request
from .samples import checked_samples
from .settle import Clock, Work, with_floats
from .split import Split
from .tapped import Workshop, input_specs
from .timing import NO_COST


def quantize_dense(
    model: Any,
    entries: Mapping[str, Any],
    data: Any = None,
    request: Request | None = None,
    tell: ProgressCallback = lambda stage, done, total: None,
) -> Findings:
    """A recipe for the dense layers of a model.

    Args:
        model: as `frontends.open` takes it.
        entries: what the recipe says of each of them, as `WAYS` has it.
        data: as `samples_of` takes it: then layers that lose too much stay float, and errors are measured. None: every
            layer is in the recipe, and what is told is which of them the machine computes faster so.
        request: how; bits and granularity are the way's.
        tell: called as tell(stage, done, total).

    Raises:
        UsageError: the model has no dense layers, or none of a name that should stay float.
        CalibrationError, DataError, ModelError, ShapeError, UnsupportedError: as `quantize`.
    """
    asked = request or Request()
    whole, recipe = _asked_for(model, entries, asked)
    if data is None:
        tell("import", 0, 0)
        options = replace(asked.options, recipe=recipe, save_ir=None)
        made = build(whole.opened, None, options, stop_after="passes", passes=until_integers)
        return _without_samples(whole, asked, recipe, made.kept_float, made.target.cpu)
    with _tried(whole, recipe, entries, data, asked, tell) as work:
        return work.finished(recipe, {})


def dense_recipe(
    model: Any,
    entries: Mapping[str, Any],
    data: Any,
    request: Request,
    shop: Workshop,
    tell: ProgressCallback = lambda stage, done, total: None,
) -> Recipe:
    """The recipe that `quantize_dense` finds on samples, without measuring what it costs; as `integer_recipe`."""
    whole, recipe = _asked_for(model, entries, request)
    with _tried(whole, recipe, entries, data, request, tell, shop) as work:
        return work.recipe(recipe)


def _asked_for(model: Any, entries: Mapping[str, Any], asked: Request) -> tuple[Network, Recipe]:
    """The dense part of a model, and the recipe that says the same of all its layers."""
    from ... import frontends

    opened = frontends.open(model, frontends.Request(shapes=static_shapes(asked.options)))
    whole = dense_part(network_of(opened))
    check_layers(whole, asked, f"MatMul and Gemm by a constant matrix of {FEWEST_WEIGHTS} weights or more")
    recipe = Recipe(identity_of(opened), layers={layer.name: entries for layer in whole.layers})
    return whole, with_floats(recipe, dict.fromkeys(asked.keep_float, "asked for"))


@contextmanager
def _tried(
    whole: Network,
    recipe: Recipe,
    entries: Mapping[str, Any],
    data: Any,
    asked: Request,
    tell: ProgressCallback,
    given: Workshop | None = None,
) -> Iterator[Work]:
    """What settles a recipe on samples."""
    opened = whole.opened
    network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
    with shop_for(given, asked, tell) as shop:
        tell("read samples", 0, 0)
        split = Split(checked_samples(data, input_specs(opened, asked.options), asked.images, LEAST_SAMPLES))
        for number, _ in enumerate(split):
            tell("read samples", number, 0)
        exact = taps_of(shop, network, None, "exact")
        values = exact.all(split.kept[0])
        layers = layers_of(shop, network, values, None, "exact_layers")
        corrections = corrections_for(shop, opened, asked, entries["weights"], tell)
        yield Work(shop, opened, whole, network, asked, split, exact, layers, values, corrections, tell, Clock())
    corrections.forget()


def dense_part(network: Network) -> Network:
    """The dense layers of a network that have more than a few weights."""
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

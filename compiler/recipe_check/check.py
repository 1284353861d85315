"""A quantized library against the float model, against the arithmetic of its recipe, and layer by layer.

The reference arithmetic is the quantized ONNX model, computed by ONNX Runtime without its own integer kernels: floats
between a dequantize and a quantize, exactly as written. A layer by itself is held to it but for the rounding of floats.
A whole network cannot be: a value half-way between two integers may go either way, and what follows differs by a unit.
So the library's difference from that model may be no larger than that model's own error.

Where a recipe changes the network, too, that is the float model and the quantized one of its twin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..calibration.as_compiled import as_compiled
from ..calibration.errors_of_layers import Error, Metrics, whole_metrics
from ..calibration.limits import LEAST_DECIBELS
from ..calibration.network import Network, layers_of, network_of, recipe_by_themselves, taps_of
from ..calibration.ranges import needless_decibels
from ..calibration.samples import Sample
from ..calibration.statistics import TensorStatistics
from ..calibration.tapped import workshop_of
from ..library.artifact import CompiledModel
from ..options import CompileOptions
from ..process.progress import ProgressCallback
from ..recipes.dense_onnx import reference_model
from ..recipes.identity import check_recipe, with_balance
from ..recipes.recipe import Array, FloatEntry, Recipe
from ..verification.reference_engines import open_as_written
from .twin import twin_of, without_changes

if TYPE_CHECKING:
    from ...frontends import OpenedModel

_SAME_DECIBELS = 90.0  # of a layer by itself: floats that were summed in another order
_LAYER_SAMPLES = 4
_FAULT_DECIBELS = 9.5  # a range three times as wide as it would have to be


@dataclass(frozen=True)
class LayerCheck:
    """A layer by itself.

    Attributes:
        layer: its name.
        reads: the tensor whose range it needs; of two the one with the larger needless error.
        against_float, against_reference: its signal to noise.
        needless: decibels that the tensor loses by steps that are larger than the samples need.
    """

    layer: str
    reads: str
    against_float: Error
    against_reference: Error
    needless: float = 0.0

    @property
    def kernel_is_wrong(self) -> bool:
        """Whether its kernel computes something else than the recipe says."""
        return self.against_reference.decibels < _SAME_DECIBELS

    @property
    def range_is_wrong(self) -> bool:
        """Whether the range in the recipe is much wider than the samples need."""
        return self.needless >= _FAULT_DECIBELS

    @property
    def order(self) -> tuple[bool, float, float]:
        """Wrong kernels come before ranges that are wrong, the worst first, and these before all other errors."""
        return not self.kernel_is_wrong, -self.needless if self.range_is_wrong else 0.0, self.against_float.decibels


@dataclass(frozen=True)
class QuantizedCheck:
    """What was found.

    Attributes:
        metrics: of the library against the float model, as far as the recipe leaves it.
        difference: of the library against the reference arithmetic.
        own_error: of the reference arithmetic against the float model.
        least_decibels: what `metrics.decibels` has to be.
        changed: the float model as the recipe leaves it against the model as it came; None where that is the same.
        layers: the worst first; empty where nobody asked.
    """

    metrics: Metrics
    difference: Error
    own_error: Error
    least_decibels: float
    changed: Error | None = None
    layers: tuple[LayerCheck, ...] = ()

    @property
    def is_as_written(self) -> bool:
        """Whether the library computes what its recipe says."""
        return self.difference.error <= self.own_error.error or self.difference.decibels >= _SAME_DECIBELS

    @property
    def passed(self) -> bool:
        """Whether it does, and that is close to the float model."""
        return self.is_as_written and self.metrics.decibels >= self.least_decibels

    def to_json(self) -> dict[str, object]:
        """All of it as JSON takes it."""

        def number(error: Error) -> float | None:
            return error.decibels if abs(error.decibels) < 1e9 else None

        return {
            "passed": self.passed,
            "as_written": self.is_as_written,
            "least_db": self.least_decibels,
            "snr_db": self.metrics.decibels if abs(self.metrics.decibels) < 1e9 else None,
            "cosine": self.metrics.cosine,
            "top1_agreement": self.metrics.top1,
            "reference_db": number(self.difference),
            "reference_own_error_db": number(self.own_error),
            "changed_db": number(self.changed) if self.changed is not None else None,
            "layers": [
                {
                    "layer": each.layer,
                    "reads": each.reads,
                    "snr_db": number(each.against_float),
                    "reference_db": number(each.against_reference),
                    "kernel_is_wrong": each.kernel_is_wrong,
                    "needless_db": each.needless,
                }
                for each in self.layers
            ],
        }


def check_quantized(
    library: CompiledModel,
    opened: OpenedModel,
    recipe: Recipe,
    samples: Iterable[Sample],
    *,
    least_decibels: float = LEAST_DECIBELS,
    bisect: bool = False,
    options: CompileOptions | None = None,
    tell: ProgressCallback = lambda stage, done, total: None,
) -> QuantizedCheck:
    """Runs the library, the float model and the reference arithmetic on samples.

    Args:
        library: compiled from `opened` with `recipe`.
        bisect: whether layers are looked at one by one; those of a changed network are of its twin's sizes.
        options: those that the library was compiled with.

    Raises:
        RecipeError: the recipe is for another model.
        ToolError: ONNX Runtime is not installed.
        UnsupportedError: the recipe has no ONNX form (`quantized_model`, `twin_of`).
    """
    check_recipe(recipe, opened)
    asked = options or CompileOptions()
    twin = twin_of(opened, recipe, asked) if recipe.changes_network else opened
    exact = open_as_written(twin.for_engine()).run
    before = open_as_written(opened.for_engine()).run if recipe.changes_network else None
    changed = None if before is None else Error()
    # A library does not tell which of its layers are integers: those that gain by it, or all that can be.
    ways = (False, True) if recipe.tensors else (False,)
    applied = {each.layers_text: each for each in (_applied(opened, twin, recipe, asked, every) for every in ways)}
    outputs = [spec.name for spec in library.outputs]
    kept: list[Sample] = []
    pairs = []
    for number, sample in enumerate(samples):
        tell("compare", number, 0)
        floats, ours = exact(sample), library.run(sample)
        pairs.append((ours, floats))
        for reference in applied.values():
            written = reference.run(sample)
            for name in outputs:
                reference.difference.add(ours[name], written[name])
                reference.own_error.add(written[name], floats[name])
        if before is not None and changed is not None:
            own = before(sample)
            for name in outputs:
                changed.add(floats[name], own[name])
        if len(kept) < _LAYER_SAMPLES:
            kept.append(sample)
    nearest = min(applied.values(), key=lambda each: each.difference.error)
    layers = _layers(twin, nearest.recipe, kept, asked, tell) if bisect else ()
    metrics = whole_metrics(pairs, outputs)
    return QuantizedCheck(metrics, nearest.difference, nearest.own_error, least_decibels, changed, layers)


@dataclass(frozen=True)
class _Applied:
    """The reference arithmetic with some of the layers as integers, and what it was found to differ by."""

    recipe: Recipe
    run: Any
    difference: Error
    own_error: Error

    @property
    def layers_text(self) -> str:
        """Which tensors and layers those are."""
        return str((sorted(self.recipe.tensors), self.recipe.layers))


def _applied(opened: OpenedModel, twin: OpenedModel, recipe: Recipe, options: CompileOptions, every: bool) -> _Applied:
    part = as_compiled(opened, recipe, options, always=every)
    part = without_changes(part) if recipe.changes_network else part
    return _Applied(part, open_as_written(reference_model(twin, part).SerializeToString()).run, Error(), Error())


def _layers(
    opened: OpenedModel, recipe: Recipe, samples: list[Sample], options: CompileOptions, tell: ProgressCallback
) -> tuple[LayerCheck, ...]:
    """The layers that are integers, each by itself; `recipe` says `float` of the others."""
    opened = with_balance(recipe, opened)  # as floats it computes the same
    whole, kept = network_of(opened, tensors=True), recipe.entries(FloatEntry)
    network = whole.of([layer for layer in whole.layers if layer.name in recipe.layers and layer.name not in kept])
    if not network.layers or not samples:
        return ()
    with workshop_of(options, tell) as shop:
        exact = taps_of(shop, network, None, "exact")
        values = exact.all(samples[0])
        quantized = layers_of(shop, network, values, recipe, "layers")
        reference = _reference_layers(network, recipe, values)
        against_float = {layer.name: Error() for layer in network.layers}
        against_reference = {layer.name: Error() for layer in network.layers}
        seen = {source: TensorStatistics() for layer in network.layers for source in layer.reads}
        for sample in samples:
            values = exact.all(sample)
            results, written = quantized.run(values), reference(values)
            for source, statistics in seen.items():
                statistics.add(values[source])
            for layer in network.layers:
                against_float[layer.name].add(results[layer.output], values[layer.output])
                against_reference[layer.name].add(results[layer.output], written[layer.output])
    checks = []
    for layer in network.layers:
        entries = [(recipe.tensors[root], source) for source, root in layer.reads.items() if root in recipe.tensors]
        needless = [(needless_decibels(entry, seen[source]), layer.reads[source]) for entry, source in entries]
        lost, reads = max(needless, default=(0.0, layer.root), key=lambda each: each[0])
        checks.append(LayerCheck(layer.name, reads, against_float[layer.name], against_reference[layer.name], lost))
    return tuple(sorted(checks, key=lambda each: each.order))


def _reference_layers(network: Network, recipe: Recipe, values: Mapping[str, Array]) -> Any:
    """What computes the layers by themselves in the reference arithmetic."""
    from ...frontends.layer_parts import BY_ITSELF, layers_by_themselves

    part = layers_by_themselves(network.opened, network.layers, values)
    own = replace(recipe_by_themselves(recipe, network.layers, part), where=recipe.where)
    engine = open_as_written(reference_model(part, own).SerializeToString())

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        return {name.removesuffix(BY_ITSELF): array for name, array in engine.run(given).items()}

    return run

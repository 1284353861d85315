"""What is settled once ranges are known: corrections, layers that go back to float, and what all of it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..process.progress import ProgressCallback
from ..recipes.recipe import FloatEntry, Recipe, TensorEntry
from .correct import Corrections
from .errors_of_layers import Bench, Error, NetworkErrors, measure_layers, whole_metrics
from .findings import Findings, LayerFinding, TensorFinding
from .network import Layers, Network, layers_of, taps_of
from .request import Request
from .split import Split
from .statistics import TensorStatistics
from .tapped import Tapped, Workshop
from .timing import Cost, costs_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel

_MEASURED, _MEASURED_AT_END = 8, 2  # held-out samples that errors of layers are of


@dataclass(frozen=True)
class Settled:
    """A recipe whose layers are settled.

    Attributes:
        recipe: with corrected weights and biases, and layers that stay float.
        kept: why layers stay float, "" of those that do not.
        quantized: the layers that are integers.
        alone: these by themselves; None where there are none.
    """

    recipe: Recipe
    kept: Mapping[str, str]
    quantized: Network
    alone: Layers | None


@dataclass
class Work:
    """What stands once ranges are known: corrections, layers that go back to float, measurements.

    `whole` has all layers, `network` those that may become integers; of the model as it was opened, channels balanced.
    """

    shop: Workshop
    opened: OpenedModel
    whole: Network
    network: Network
    asked: Request
    split: Split
    exact: Tapped
    exact_layers: Layers
    values: dict[str, Any]
    corrections: Corrections
    tell: ProgressCallback
    clock: Clock

    def settled(self, recipe: Recipe) -> Settled:
        """What is corrected, and which layers stay float after all."""
        kept: dict[str, str] = {}
        self.shop.built(self.whole.opened, "integer", recipe, kept)
        quantized, alone = self._quantized(kept), None
        if quantized.layers:
            size, exact = self.network.bytes, self.exact
            tried, held = self.split.tried(size), self.split.judging(size)
            with self.clock("corrections"):
                recipe = self.corrections.rounded(quantized, recipe, exact, self.split.kept, held)
                alone = layers_of(self.shop, quantized, self.values, recipe, "integer_layers")
                bad = self._too_bad(quantized, alone)
                if bad:
                    recipe = replace(with_floats(recipe, bad), arrays=self._kept(recipe, bad))
                    quantized = quantized.of([layer for layer in quantized.layers if layer.name not in bad])
                    alone = layers_of(self.shop, quantized, self.values, recipe, "integer_layers_left")
                recipe, alone = self.corrections.shifted(quantized, recipe, exact, alone, tried, held)
        return Settled(recipe, kept, quantized, alone)

    def recipe(self, recipe: Recipe) -> Recipe:
        """A recipe with what is settled, whose layers say what was corrected."""
        return self.corrections.explained(self.settled(recipe).recipe)

    def finished(self, recipe: Recipe, statistics: dict[str, TensorStatistics]) -> Findings:
        """The findings for a recipe."""
        found = self.settled(recipe)
        recipe, alone, kept = found.recipe, found.alone, dict[str, str]()
        integer = self.shop.compiled(self.whole.opened, "integer_corrected", recipe, kept)
        quantized, errors = self._quantized(kept), None
        if quantized.layers and self.asked.details and alone is not None:
            with self.clock("errors"):
                taps = taps_of(self.shop, self.network, self._of_integers(recipe, quantized), "integer_taps")
                bench = Bench(quantized, self.exact, taps, self.exact_layers, alone)
                held = self.split.held[:_MEASURED]
                errors = measure_layers(self.shop, bench, held, len(held), _MEASURED_AT_END, self.tell)
        with self.clock("measure"):
            return self._findings(self.corrections.explained(recipe), statistics, kept, errors, integer)

    def _of_integers(self, recipe: Recipe, quantized: Network) -> Recipe:
        """The recipe as the library has it: where tensors are tapped, kernels are apart that are one otherwise."""
        integers = {layer.name for layer in quantized.layers}
        floats = [layer.name for layer in self.whole.layers if layer.name not in integers]
        return with_floats(recipe, dict.fromkeys(floats, "on this target"))

    def _quantized(self, kept: dict[str, str]) -> Network:
        return self.whole.of([layer for layer in self.whole.layers if kept.get(layer.name, "-") == ""])

    def _too_bad(self, network: Network, alone: Layers) -> dict[str, str]:
        """Layers whose own error is too large, and why they stay float."""
        found = {layer.name: Error() for layer in network.layers}
        for sample in self.split.held[:_MEASURED]:
            values = self.exact.all(sample)
            results = alone.run(values)
            for layer in network.layers:
                found[layer.name].add(results[layer.output], values[layer.output])
        return {
            name: f"quantized it would have {error.decibels:.1f} dB of signal to noise, less than "
            f"{self.asked.least_decibels:g}"
            for name, error in found.items()
            if error.decibels < self.asked.least_decibels
        }

    def _kept(self, recipe: Recipe, bad: dict[str, str]) -> dict[str, Any]:
        """Weights that were rounded, without those of layers that stay float."""
        floats = {layer.weights for layer in self.whole.layers if layer.name in bad}
        return {name: array for name, array in recipe.arrays.items() if name not in floats}

    def _findings(
        self,
        recipe: Recipe,
        statistics: dict[str, TensorStatistics],
        kept: dict[str, str],
        errors: NetworkErrors | None,
        integer: Any,
    ) -> Findings:
        exact = self.shop.compiled(self.opened, "float")
        pairs = []
        for number, sample in enumerate(self.split.held):
            self.tell("compare", number, len(self.split.held))
            pairs.append((integer.run(sample), exact.run(sample)))
        names = {layer.hint: layer.name for layer in self.whole.layers}
        sample = self.split.held[0]
        (float_costs, float_whole), (costs, whole) = (costs_of(each, sample, names) for each in (exact, integer))
        stated = recipe.entries(FloatEntry)
        layers = tuple(
            LayerFinding(
                layer.name,
                layer.operator,
                layer.root,
                stated[layer.name].why if layer.name in stated else kept.get(layer.name, "it became part of another"),
                errors.layers.get(layer.name) if errors is not None else None,
                float_costs.get(layer.name, Cost()),
                costs.get(layer.name, Cost()),
                tuple(self.corrections.layers.get(layer.name, ())),
            )
            for layer in self.whole.layers
        )
        tensors = tuple(
            TensorFinding(name, entry, _clipped(statistics[name], entry), statistics[name])
            for name, entry in recipe.tensors.items()
            if name in statistics
        )
        return Findings(
            self.whole.opened.name,
            recipe,
            layers,
            tensors,
            whole_metrics(pairs, self.whole.outputs),
            float_whole,
            whole,
            self.split.count - len(self.split.held),
            len(self.split.held),
            integer.signature.cpu,
            errors.disturbed if errors is not None and errors.has_ends else None,
            self.clock.seconds,
        )


class Clock:
    """Seconds of named stages."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Adds what the body takes to the seconds of a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def with_floats(recipe: Recipe, why: Mapping[str, str]) -> Recipe:
    """A recipe by which some layers stay float."""
    floats = {name: {**recipe.layers[name], "float": FloatEntry(reason)} for name, reason in why.items()}
    return replace(recipe, layers={**recipe.layers, **floats})


def _clipped(statistics: TensorStatistics, entry: TensorEntry) -> float:
    (low, high), half = entry.ends, entry.scale / 2
    return statistics.clipped_share(low - half, high + half)

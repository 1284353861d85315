"""`quantize`, top to bottom: data -> ranges -> recipe -> what it costs, layer by layer."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ..extents.ranges import static_shapes
from ..options import CompileOptions
from ..process.progress import ProgressCallback
from ..recipes.identity import identity_of
from ..recipes.recipe import OF_TENSORS, ActivationsEntry, FloatEntry, ModelIdentity, Recipe, TensorEntry, WeightsEntry
from .choose_ranges import choose_ranges
from .collect import State, collect, key_of
from .correct import CORRECTIONS, Corrections, corrections_of
from .errors_of_layers import Bench, Error, NetworkErrors, measure_layers, whole_metrics
from .findings import Findings, LayerFinding, TensorFinding
from .images import Preprocessing
from .limits import LEAST_OF_A_LAYER
from .network import Layers, Network, layers_of, network_of, taps_of
from .ranges import candidates
from .samples import checked_samples
from .shared_scales import shared_entries
from .split import Split
from .statistics import TensorStatistics
from .tapped import Tapped, Workshop, input_specs, tapped, workshop_of
from .timing import Cost, costs_of

if TYPE_CHECKING:
    from ...frontends import OpenedModel

LEAST_SAMPLES = 2
_MEASURED, _MEASURED_AT_END = 8, 2  # held-out samples that errors of layers are of


@dataclass(frozen=True)
class Request:
    """How a model is to be quantized.

    Attributes:
        options: of the libraries that are compiled on the way: target, shapes, bindings, threads.
        bits: of activations and weights.
        granularity: what shares a scale of weights.
        keep_float: layers that stay float.
        least_decibels: a layer whose own ratio of signal to noise is less stays float.
        corrections: those that are made where they lower the error.
        always: whether layers become integers whatever that costs in time, for what is measured here.
        details: whether errors of layers are measured.
        images: how images become inputs.
        state: a file for what was calibrated so far; what was corrected so far stands beside it.

    Raises:
        UsageError: there is no correction of a name.
    """

    options: CompileOptions = field(default_factory=CompileOptions)
    bits: int = 8
    granularity: str = "channel"
    keep_float: Sequence[str] = ()
    least_decibels: float = LEAST_OF_A_LAYER
    corrections: Sequence[str] = CORRECTIONS
    always: bool = False
    details: bool = True
    images: Preprocessing | None = None
    state: Path | None = None

    def __post_init__(self) -> None:
        corrections_of(self.corrections)


def quantize(
    model: Any, data: Any, request: Request | None = None, tell: ProgressCallback = lambda stage, done, total: None
) -> Findings:
    """Finds how a model is quantized, and what that costs.

    Args:
        model: as `frontends.open` takes it.
        data: as `samples_of` takes it.
        request: how.
        tell: called as tell(stage, done, total).

    Raises:
        CalibrationError: the data does not fit the model, shows no range, or is too little.
        DataError: a file of it is missing or damaged.
        UsageError: the model has no layer that integers compute, or none of a name that should stay float.
        ModelError, ShapeError, UnsupportedError: as a compile.
    """
    from ... import frontends

    asked = request or Request()
    opened = frontends.open(model, frontends.Request(shapes=static_shapes(asked.options)))
    whole = network_of(opened, tensors=True)
    check_layers(whole, asked)
    network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
    clock = Clock()
    with workshop_of(asked.options, tell, asked.always) as shop:
        tell("read samples", 0, 0)
        split = Split(checked_samples(data, input_specs(opened, asked.options), asked.images, LEAST_SAMPLES))
        corrections = corrections_for(shop, opened, asked, WeightsEntry(asked.bits, asked.granularity), tell)
        exact = taps_of(shop, network, None, "exact")
        with clock("corrections"):
            balanced, exact = corrections.balanced(network, exact, split)
            whole = network_of(balanced, tensors=True)
            network = whole.of([layer for layer in whole.layers if layer.name not in asked.keep_float])
        state = State(asked.state, key_of(corrections.key, str(corrections.balance)))
        with clock("calibrate"):
            statistics = _statistics(shop, network, split, state, tell)
        values = exact.all(split.kept[0])
        with clock("ranges"):
            layers = layers_of(shop, network, values, None, "exact_layers")
            given = {root: candidates(statistics[root], asked.bits, root) for root in network.roots}
            for root in network.symmetric:
                given[root] = [each.symmetric(asked.bits) for each in given[root]]
            chosen = choose_ranges(network, exact, layers, split.tried(network.bytes), given, asked.bits, tell)
        tensors = {root: found.entry(asked.bits, why) for root, (found, why) in chosen.items()}
        recipe = _recipe(whole, asked, identity_of(opened), shared_entries(balanced, tensors))
        work = Work(shop, opened, whole, network, asked, split, exact, layers, values, corrections, tell, clock)
        findings = work.finished(recipe, statistics)
    state.remove()
    corrections.forget()
    return findings


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

    def finished(self, recipe: Recipe, statistics: dict[str, TensorStatistics]) -> Findings:
        """The findings for a recipe."""
        kept: dict[str, str] = {}
        integer = self.shop.compiled(self.whole.opened, "integer", recipe, kept)
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
                if bad or recipe.arrays:
                    kept.clear()
                    integer = self.shop.compiled(self.whole.opened, "integer_corrected", recipe, kept)
                    quantized = self._quantized(kept)
        errors = None
        if quantized.layers and self.asked.details and alone is not None:
            with self.clock("errors"):
                whole = self._of_integers(recipe, quantized)
                taps = taps_of(self.shop, self.network, whole, "integer_taps")
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


def _statistics(
    shop: Workshop, network: Network, split: Split, state: State, tell: ProgressCallback
) -> dict[str, TensorStatistics]:
    model = tapped(shop, network.opened, network.roots, network.sizes, None, "calibration")
    return collect(model, split, network.roots, state, tell)


def corrections_for(
    shop: Workshop, opened: OpenedModel, asked: Request, entry: WeightsEntry, tell: ProgressCallback
) -> Corrections:
    """What makes the corrections that are asked for.

    Args:
        entry: how weights will be quantized.
    """
    key = key_of(identity_of(opened).sha256, str(asked.options.shapes))
    return Corrections(shop, tell, corrections_of(asked.corrections), entry, asked.bits, asked.state, key)


def _recipe(network: Network, asked: Request, model: ModelIdentity, tensors: Mapping[str, TensorEntry]) -> Recipe:
    weights = {"weights": WeightsEntry(asked.bits, asked.granularity)}
    activations = {"activations": ActivationsEntry(OF_TENSORS)}
    layers = {layer.name: weights if layer.weights else activations for layer in network.layers}
    recipe = Recipe(model, dict(tensors), layers)
    return with_floats(recipe, dict.fromkeys(asked.keep_float, "asked for"))


def with_floats(recipe: Recipe, why: Mapping[str, str]) -> Recipe:
    """A recipe by which some layers stay float."""
    floats = {name: {**recipe.layers[name], "float": FloatEntry(reason)} for name, reason in why.items()}
    return replace(recipe, layers={**recipe.layers, **floats})


def check_layers(network: Network, asked: Request) -> None:
    """Whether there are layers, and those that are to stay float among them.

    Raises:
        UsageError: there are not.
    """
    if not network.layers:
        raise UsageError(
            "the model has no product or convolution with constant float weights that integers could compute",
            where=network.opened.where,
        )
    known = {layer.name for layer in network.layers}
    unknown = [name for name in asked.keep_float if name not in known]
    if unknown:
        raise UsageError(
            f"there is no layer {unknown[0]!r}", where="--keep-float", hint=f"the layers are: {', '.join(known)}"
        )


def _clipped(statistics: TensorStatistics, entry: TensorEntry) -> float:
    least, most = -(2 ** (entry.bits - 1)), 2 ** (entry.bits - 1) - 1
    low, high = ((end - entry.zero_point) * entry.scale for end in (least, most))
    half = entry.scale / 2
    return statistics.clipped_share(low - half, high + half)

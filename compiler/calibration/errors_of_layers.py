"""What quantizing costs in accuracy: of each layer alone, of all layers up to it, and of all but it.

The error of a layer is what its integers make of the tensor that it reads less what floats make of it. Alone, that
tensor is the float network's; in the quantized network it is that one's own. A float network to which the errors of all
layers are added is the quantized network; without those of one layer it is the network with that layer in float, as far
as the errors of the others stay what they were. So one library that takes errors as inputs answers for every layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..process.progress import ProgressCallback
from ..recipes.recipe import Array
from .network import Layers, Network
from .samples import Sample
from .tapped import MOST_BYTES, Tapped, Workshop


@dataclass
class Error:
    """A sum of squares of errors and of what they are errors of."""

    error: float = 0.0
    signal: float = 0.0

    def add(self, result: Array, reference: Array) -> None:
        """Takes a result into account."""
        self.error += _squares(result - reference)
        self.signal += _squares(reference)

    @property
    def decibels(self) -> float:
        """The ratio of signal to noise; infinite without noise."""
        if self.error <= 0:
            return math.inf
        return 10 * math.log10(self.signal / self.error) if self.signal > 0 else -math.inf


@dataclass
class LayerError:
    """Of one layer, as ratios of signal to noise.

    Attributes:
        alone: at its output, the tensor that it reads exact.
        alone_at_end: at the model's outputs, when it alone is quantized.
        cumulative: at its output in the quantized network.
        without: at the model's outputs, when all others are quantized.
    """

    alone: Error = field(default_factory=Error)
    alone_at_end: Error = field(default_factory=Error)
    cumulative: Error = field(default_factory=Error)
    without: Error = field(default_factory=Error)


@dataclass
class NetworkErrors:
    """Of all layers by name, and of the whole network at its outputs."""

    layers: dict[str, LayerError]
    whole: Error = field(default_factory=Error)
    disturbed: Error = field(default_factory=Error)
    has_ends: bool = True


@dataclass(frozen=True)
class Bench:
    """What errors are measured with: the layers of `network` are quantized; the libraries may have more layers."""

    network: Network
    exact: Tapped
    quantized: Tapped
    exact_layers: Layers
    quantized_layers: Layers


def measure_layers(
    shop: Workshop, bench: Bench, samples: Iterable[Sample], count: int, ends: int, tell: ProgressCallback
) -> NetworkErrors:
    """The errors of all layers.

    Args:
        count: how many samples there are.
        ends: on how many of them what each layer does to the outputs is measured: a run for each layer, twice.
    """
    network = bench.network
    errors = NetworkErrors({layer.name: LayerError() for layer in network.layers})
    room = sum(2 * network.sizes.get(layer.output, 0) for layer in network.layers)
    errors.has_ends = bool(network.layers) and room <= 4 * MOST_BYTES
    library = None
    for number, sample in enumerate(samples):
        tell("errors of layers", number, count)
        exact, quantized = bench.exact.all(sample), bench.quantized.all(sample)
        alone = bench.quantized_layers.run(exact)
        for layer in network.layers:
            found = errors.layers[layer.name]
            found.alone.add(alone[layer.output], exact[layer.output])
            found.cumulative.add(quantized[layer.output], exact[layer.output])
        for name in network.outputs:
            errors.whole.add(quantized[name], exact[name])
        if errors.has_ends and number < ends:
            if library is None:
                library = injected(shop, network, exact)
            own = {layer.output: alone[layer.output] - exact[layer.output] for layer in network.layers}
            floats, integers = bench.exact_layers.run(quantized), bench.quantized_layers.run(quantized)
            all_of_them = {layer.output: integers[layer.output] - floats[layer.output] for layer in network.layers}
            _ends(library, network, sample, exact, own, all_of_them, errors)
    return errors


def injected(shop: Workshop, network: Network, values: Mapping[str, Array]) -> Injected:
    """Compiles the float network with an error as an input for what each layer makes; `values` have their shapes."""
    from ...frontends.layer_parts import disturbed

    tensors = [layer.output for layer in network.layers]
    library = shop.compiled(disturbed(network.opened, tensors, values), "disturbed")
    return Injected(library, {name: np.zeros_like(values[name]) for name in tensors})


@dataclass(frozen=True)
class Injected:
    """The float network that errors are added to; none by default."""

    library: object
    nothing: Mapping[str, Array]

    def run(self, sample: Sample, errors: Mapping[str, Array]) -> dict[str, Array]:
        """The model's outputs with these errors of tensors."""
        from ...frontends.layer_parts import DISTURBANCE

        given = {name + DISTURBANCE: errors.get(name, zeros) for name, zeros in self.nothing.items()}
        results: dict[str, Array] = self.library.run({**sample, **given})  # type: ignore[attr-defined]
        return results


def _ends(
    injected: Injected,
    network: Network,
    sample: Sample,
    exact: Mapping[str, Array],
    own: Mapping[str, Array],
    all_of_them: Mapping[str, Array],
    errors: NetworkErrors,
) -> None:
    def add(error: Error, given: Mapping[str, Array]) -> None:
        outputs = injected.run(sample, given)
        for name in network.outputs:
            error.add(outputs[name], exact[name])

    add(errors.disturbed, all_of_them)
    for layer in network.layers:
        found = errors.layers[layer.name]
        add(found.alone_at_end, {layer.output: own[layer.output]})
        add(found.without, {name: error for name, error in all_of_them.items() if name != layer.output})


def whole_metrics(pairs: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]], outputs: Sequence[str]) -> Metrics:
    """What a network is worth without labels.

    Args:
        pairs: of each sample the outputs of the quantized network and those of the float one.
    """
    agree, rows, divergence = 0, 0, 0.0
    error, cosines = Error(), []
    for result, reference in pairs:
        for name in outputs:
            given, wanted = (each[name].astype(np.float64) for each in (result, reference))
            error.add(given, wanted)
            norms = float(np.linalg.norm(given) * np.linalg.norm(wanted))
            cosines.append(float(np.vdot(given, wanted)) / norms if norms else float(np.array_equal(given, wanted)))
        given, wanted = (each[outputs[0]].astype(np.float64) for each in (result, reference))
        if wanted.ndim and wanted.shape[-1] > 1:
            agree += int((given.argmax(-1) == wanted.argmax(-1)).sum())
            rows += wanted.size // wanted.shape[-1]
            divergence += float(_kullback_leibler(_softmax(wanted), _softmax(given)))
    return Metrics(
        samples=len(pairs),
        decibels=error.decibels,
        cosine=float(np.mean(cosines)) if cosines else 1.0,
        top1=agree / rows if rows else None,
        divergence=divergence / rows if rows else None,
    )


@dataclass(frozen=True)
class Metrics:
    """Of a quantized network against the float one.

    Attributes:
        samples: how many.
        decibels: signal to noise of all outputs.
        cosine: of outputs, the mean.
        top1: the share of rows of the first output whose largest element is at the same place.
        divergence: Kullback and Leibler's, of the rows' distributions, in nats.
    """

    samples: int
    decibels: float
    cosine: float
    top1: float | None
    divergence: float | None


def _squares(values: Array) -> float:
    """The sum of squares: of floats by the fast product of their own dtype, where that holds it."""
    total = float(np.vdot(values, values))
    if total > 0 and math.isfinite(total):
        return total
    wide = values.astype(np.float64)
    return float(np.vdot(wide, wide))


def _softmax(x: Array) -> Array:
    """Of logits; rows that are distributions already are left as they are."""
    if x.min() >= 0 and np.allclose(x.sum(-1), 1, atol=1e-3):
        return x
    shifted = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(-1, keepdims=True))


def _kullback_leibler(p: Array, q: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(p > 0, p * np.log(p / np.maximum(q, 1e-12)), 0.0).sum())

"""Channels of like size: activations have one scale, so that channels much smaller than others lose their bits.

Factors move size from activations to the weights behind them, which have a scale for each column, and from weights
before them to those behind. Equalization makes both weights' ranges alike (Nagel and others, 2019, "Data-free
quantization"), smoothing moves a part of the activations' range (Xiao and others, 2023, "SmoothQuant"). Norms, biases
and weights take the factors, so that running the model costs nothing more; where they cannot, a multiplication does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from ..process.progress import ProgressCallback
from ..recipes.recipe import Array, BalanceEntry, WeightsEntry
from .finished import Finished
from .layer_matrices import Judge, MatrixLayer, quantized_matrix
from .network import Network
from .ranges import Range
from .samples import Sample
from .tapped import MOST_BYTES, Tapped, groups

if TYPE_CHECKING:
    from ...frontends import OpenedModel
    from ...frontends.seam_parts import Place
    from ...frontends.seams import Seam

# Of the error on held-out samples, for factors to be kept: those that weights take, and those that are multiplied with.
_CLEARLY_LESS, _WORTH_IT = 0.95, 0.7
_ROWS = 256  # of a layer's columns, to choose by, and as many to judge by
_MOST_FACTOR = 1e3  # and its inverse, of the mean of factors
_DIGITS = 4
# Parts of the whole range, of which the best is taken before it is judged: outliers may be clipped instead.
_SHARES = (1.0, 0.85, 0.7, 0.5, 0.35)


@dataclass(frozen=True)
class _Ranges:
    """Of channels: the largest magnitude that activations have, that weights making them have, and those reading them.

    Weights that make them may be unknown: nothing but layers has any.
    """

    activations: Array
    makers: Array | None
    readers: Array


Rule = Callable[[_Ranges], "Array | None"]


def _equal(ranges: _Ranges) -> Array | None:
    return None if ranges.makers is None else np.sqrt(ranges.makers / ranges.readers)


def _smooth(share: float) -> Rule:
    return lambda ranges: ranges.activations**share / ranges.readers ** (1 - share)


# How factors are found -> what does it.
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "equalized weights": _equal,
        **{f"smoothed by {share:g}": _smooth(share) for share in (0.25, 0.5, 0.75, 1.0)},
    }
)


@dataclass
class Balance:
    """What was found.

    Attributes:
        entries: factors by the name of a seam.
        ratios: for each layer that was tried the error on held-out samples, over that without factors.
        kept: the layers that read channels with factors.
    """

    entries: dict[str, BalanceEntry] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)


def balance_channels(
    network: Network,
    layers: Mapping[str, MatrixLayer],
    seams: Sequence[Seam],
    exact: Tapped,
    samples: tuple[Sequence[Sample], Sequence[Sample]],
    entry: WeightsEntry,
    bits: int,
    finished: Finished,
    tell: ProgressCallback,
) -> Balance:
    """Factors of those seams whose layers lose less by them on held-out samples.

    Args:
        layers: those of the network, by name.
        exact: gives the tensors that layers read and make.
        samples: to choose by, and to judge by.
        entry, bits: how weights and activations will be quantized.
    """
    tries = {}
    for seam in seams:
        tried = _Try(seam, [layers[each.name] for each in network.layers if each.name in layers], entry, bits)
        if tried.readers:
            tries[seam.name] = tried
    found = Balance()
    scales = _Scales()
    sizes = {name: tried.bytes for name, tried in tries.items()}
    for names in groups(list(tries), sizes, MOST_BYTES):
        waiting = [tries[name] for name in names if name not in finished]
        for judging, part in enumerate(samples) if waiting else ():
            for number, sample in enumerate(part):
                tell("balance channels", number, len(part))
                values = exact.all(sample)
                for tried in waiting:
                    tried.add(values, judging == 1, max(8, _ROWS // len(part)), number)
        for name in names:
            if name not in finished:
                finished.add(name, tries[name].chosen(scales))
            factors, why, ratio = finished.facts(name)
            readers = {reader.node.name for reader in tries[name].readers}
            found.ratios |= dict.fromkeys(readers, ratio)
            if factors is not None:
                found.entries[name] = BalanceEntry(tuple(factors), why)
                found.kept |= readers
                scales.add(tries[name], np.array(factors))
            tries[name].forget()
    return found


def divisors_of(opened: OpenedModel, entries: Mapping[str, BalanceEntry]) -> dict[str, tuple[Place, Array]]:
    """For tensors of a model the factors that they are divided by once channels are balanced, as `Tapped` has them."""
    from ...frontends.seams import seams_of

    seams = seams_of(opened) if entries else {}
    return {
        tensor: (place, np.array(entry.factors))
        for name, entry in entries.items()
        for tensor, place in seams[name].tensors.items()
    }


class _Scales:
    """Factors of what layers read and make, as far as they are settled."""

    def __init__(self) -> None:
        self.reads: dict[str, Array] = {}
        self.makes: dict[str, Array] = {}

    def add(self, tried: _Try, factors: Array) -> None:
        """Takes those of a seam into account."""
        for layer in tried.readers:
            self.reads[layer.node.name] = tried.along(layer, layer.node.source, factors)
        for layer in tried.makers:
            self.makes[layer.node.name] = tried.along(layer, layer.node.output, factors)


class _Try:
    """A seam, the layers around it, and samples of what they read."""

    def __init__(self, seam: Seam, layers: Sequence[MatrixLayer], entry: WeightsEntry, bits: int) -> None:
        self.seam, self._entry, self._bits = seam, entry, bits
        edits = {(edit.weights, edit.divides) for edit in seam.edits}
        self.readers = [each for each in layers if (each.node.weights, False) in edits]
        self.makers = [each for each in layers if (each.node.weights, True) in edits]
        self._judges: dict[tuple[str, bool], Judge] = {}
        self._low, self._high = np.zeros(seam.channels), np.zeros(seam.channels)

    @property
    def _measured(self) -> dict[str, MatrixLayer]:
        """The layers that lose something: weights with a scale for each column lose nothing by what those are."""
        makers = self.makers if self._entry.granularity == "tensor" else []
        return {each.node.name: each for each in (*self.readers, *makers)}

    @property
    def bytes(self) -> int:
        """Of the samples that are kept."""
        return sum(8 * _ROWS * each.width * each.layer.linear.groups for each in self._measured.values())

    def add(self, values: Mapping[str, Array], held: bool, most: int, seed: int) -> None:
        """Takes a sample into account."""
        for name, layer in self._measured.items():
            self._judges.setdefault((name, held), Judge(layer)).add(values, most, seed)
        if not held:
            for layer in self.readers:
                parts = self.seam.tensors[layer.node.source].apart(values[layer.node.source])
                self._low = np.minimum(self._low, parts.min(axis=(0, 2)))
                self._high = np.maximum(self._high, parts.max(axis=(0, 2)))

    def along(self, layer: MatrixLayer, tensor: str, factors: Array) -> Array:
        """Factors as the columns, or the outputs, of a layer's matrix have them: [groups, 1, ...]."""
        spread = self.seam.tensors[tensor].along(factors).reshape(layer.layer.linear.groups, 1, -1)
        if tensor == layer.node.output:
            return np.asarray(spread)
        return np.repeat(spread, layer.width // spread.shape[2], axis=2)

    def chosen(self, scales: _Scales) -> tuple[list[float] | None, str, float]:
        """Factors, why they are kept, and the error over that without them."""
        if not np.isfinite(self._low + self._high).all():
            return None, "", 1.0  # no range can be found, either: whoever looks for it says so
        ranges = self._ranges(scales)
        best: tuple[float, str, Array] | None = None
        for name, rule in RULES.items():
            with np.errstate(divide="ignore", invalid="ignore"):  # channels in which nothing is seen
                factors = rule(ranges)
            if factors is not None:
                settled = _settled(factors, ranges)
                error = self._error(settled, scales, False, 1.0)
                if best is None or error < best[0]:
                    best = error, name, settled
        assert best is not None
        _, name, factors = best
        ratio = self._held_error(factors, scales) / max(self._held_error(None, scales), 1e-30)
        readers = ", ".join(each.node.name for each in self.readers)
        if ratio < (_CLEARLY_LESS if self.seam.is_free else _WORTH_IT):
            return factors.tolist(), f"{name}: the error of {readers} is {ratio:.2f} of what it was", ratio
        return None, "", ratio

    def _held_error(self, factors: Array | None, scales: _Scales) -> float:
        """On held-out samples, by the range that does best on the others."""
        share = min(_SHARES, key=lambda each: self._error(factors, scales, False, each))
        return self._error(factors, scales, True, share)

    def _error(self, factors: Array | None, scales: _Scales, held: bool, share: float) -> float:
        total = 0.0
        for name, layer in self._measured.items():
            one = np.ones((1, 1, 1))
            reads, makes = scales.reads.get(name, one), scales.makes.get(name, one)
            entry = None
            if layer in self.readers:
                divisors = np.ones(self.seam.channels) if factors is None else factors
                low, high = float((self._low / divisors).min()), float((self._high / divisors).max())
                entry = Range(low * share, high * share, "").entry(self._bits)
                reads = self.along(layer, layer.node.source, divisors)
            if layer in self.makers and factors is not None:
                makes = self.along(layer, layer.node.output, factors)
            matrix = layer.matrix * reads.swapaxes(1, 2) / makes
            judge = self._judges[name, held]
            total += judge.error(quantized_matrix(matrix, self._entry, alone=False), entry, reads, makes)
        return total

    def _ranges(self, scales: _Scales) -> _Ranges:
        one = np.ones((1, 1, 1))
        channels = self.seam.channels
        readers, makers = np.zeros(channels), np.zeros(channels)
        for layer in self.readers:
            matrix = np.abs(layer.matrix / scales.makes.get(layer.node.name, one)).max(axis=2).reshape(-1)
            place = self.seam.tensors[layer.node.source]
            readers = np.maximum(readers, _by_channel(matrix, place))
        for layer in self.makers:
            matrix = np.abs(layer.matrix * scales.reads.get(layer.node.name, one).swapaxes(1, 2)).max(axis=1)
            makers = np.maximum(makers, _by_channel(matrix.reshape(-1), self.seam.tensors[layer.node.output]))
        return _Ranges(np.maximum(-self._low, self._high), makers if self.makers else None, readers)

    def forget(self) -> None:
        """Samples are no longer needed."""
        self._judges = {}


def _by_channel(values: Array, place: Place) -> Array:
    """The largest of a channel: values are in the order of its axis, taps of a channel side by side."""
    taps = len(values) // place.extent
    return np.asarray(values.reshape(place.tiles, place.channels, place.repeats * taps).max(axis=(0, 2)))


def _settled(factors: Array, ranges: _Ranges) -> Array:
    """Factors whose mean is about one, one where nothing is seen of a channel, with a few digits."""
    seen = (ranges.activations > 0) & (ranges.readers > 0) & np.isfinite(factors) & (factors > 0)
    middle = np.exp(np.log(factors[seen]).mean()) if seen.any() else 1.0
    clipped = np.clip(np.where(seen, factors, middle) / middle, 1 / _MOST_FACTOR, _MOST_FACTOR)
    return np.array([float(f"{each:.{_DIGITS}g}") for each in clipped])

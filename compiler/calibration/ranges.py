"""Ranges of a tensor that could be quantized: by its ends, by percentiles, by entropy, by mean square error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...errors import CalibrationError
from ..recipes.recipe import Array, TensorEntry
from .statistics import TensorStatistics

_STEPS = 48  # ranges that entropy and mean square error try, down to an eighth of the ends
_NEARLY_SAME = 0.01
_MOST_WIDTHS = 8  # of all integers of so many bits, for a tensor of integers to be worth clipping
_LEAST_SCALE = float(np.finfo(np.float32).tiny) * 1e6


@dataclass(frozen=True)
class Range:
    """The least and the greatest float that are not clipped, and how they were found; 0 is always among them."""

    low: float
    high: float
    method: str

    def symmetric(self, bits: int) -> Range:
        """One that holds it and whose entry has the zero point 0."""
        half = 2 ** (bits - 1)
        step = max(-self.low, self.high) / (half - 1)
        return Range(-half * step, (half - 1) * step, self.method)

    def entry(self, bits: int, why: str = "") -> TensorEntry:
        """The scale and the zero point of signed integers that the range gives."""
        least, most = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        scale = float(np.float32(max((high - low) / (most - least), _LEAST_SCALE)))
        zero = int(np.clip(np.rint(least - low / scale), least, most))
        return TensorEntry(bits, scale, zero, (low, high), self.method, why)


def candidates(statistics: TensorStatistics, bits: int, name: str) -> list[Range]:
    """A range by each method, without those that are nearly the same as one before.

    Raises:
        CalibrationError: the tensor held nothing, or NaN or infinities.
    """
    where = f"tensor {name!r}"
    if statistics.not_finite:
        raise CalibrationError(
            f"{statistics.not_finite} values are NaN or infinite",
            where=where,
            hint="the model computes them from these samples: look at their preprocessing, or leave them out",
        )
    if statistics.is_empty:
        raise CalibrationError("the tensor has no elements, so that it has no range", where=where)
    found: list[Range] = []
    for method, rule in METHODS.items():
        low, high = rule(statistics, bits)
        if not any(
            abs(low - each.low) + abs(high - each.high) <= _NEARLY_SAME * (each.high - each.low) for each in found
        ):
            found.append(Range(low, high, method))
    return found


def fake_quantized(values: Array, entry: TensorEntry) -> Array:
    """Floats as they are once they were quantized: docs/quantization.md's quantize, and dequantize."""
    least, most = -(2 ** (entry.bits - 1)), 2 ** (entry.bits - 1) - 1
    scale = np.float32(entry.scale)
    result = np.divide(values, scale, dtype=np.float32)
    np.rint(result, out=result)
    np.clip(result, least - entry.zero_point, most - entry.zero_point, out=result)
    return np.multiply(result, scale, out=result)


def _ends(statistics: TensorStatistics, bits: int) -> tuple[float, float]:
    return statistics.low, statistics.high


def _percentile(share: float) -> Callable[[TensorStatistics, int], tuple[float, float]]:
    def rule(statistics: TensorStatistics, bits: int) -> tuple[float, float]:
        summed = np.cumsum(statistics.counts)
        beyond = (1 - share) / 2 * summed[-1]
        width = 2 * statistics.reach / len(summed)
        first, last = np.searchsorted(summed, beyond, "right"), np.searchsorted(summed, summed[-1] - beyond)
        low, high = first * width - statistics.reach, (last + 1) * width - statistics.reach
        return max(float(low), statistics.low), min(float(high), statistics.high)

    return rule


def _mean_square(statistics: TensorStatistics, bits: int) -> tuple[float, float]:
    """The range of the least mean square of rounding and clipping errors over the histogram."""
    counts, centers = statistics.counts.astype(np.float64), statistics.centers

    def error(low: float, high: float) -> float:
        step = max((high - low) / (2**bits - 1), _LEAST_SCALE)
        clipped = np.clip(centers, low, high) - centers
        inside = clipped == 0
        return float(counts @ np.where(inside, step * step / 12, clipped * clipped))

    return min(_narrower(statistics), key=lambda ends: error(*ends))


def needless_decibels(entry: TensorEntry, statistics: TensorStatistics) -> float:
    """What a tensor's values lose by steps that are larger than all of them need: those of an entry over those of their
    ends. (Ranges that are too narrow lose more than any that is too wide, and show by that.)"""
    if statistics.is_empty or statistics.low == statistics.high:
        return 0.0
    ends = Range(statistics.low, statistics.high, "minmax")
    whole = (ends if entry.zero_point else ends.symmetric(entry.bits)).entry(entry.bits)
    return max(0.0, 20 * math.log10(entry.scale / whole.scale))


def _entropy(statistics: TensorStatistics, bits: int) -> tuple[float, float]:
    """The range whose quantized distribution diverges the least from the one it stands for (Kullback and Leibler)."""
    counts, centers = statistics.counts.astype(np.float64), statistics.centers
    total = counts.sum()

    def divergence(low: float, high: float) -> float:
        places = np.clip((centers - low) / max(high - low, _LEAST_SCALE) * 2**bits, 0, 2**bits - 1).astype(np.int64)
        seen = counts > 0
        mass = np.bincount(places, counts, 2**bits)
        inside = (centers >= low) & (centers <= high)
        kept = np.bincount(places, np.where(inside, counts, 0), 2**bits)
        bins = np.bincount(places[seen & inside], minlength=2**bits)
        # What is clipped is in the outermost places of the reference; the quantized one spreads what it kept evenly.
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.where(inside & seen, counts * mass[places] / kept[places], 0.0) / total
            q = np.where(inside & seen, kept[places] / bins[places], 0.0) / max(kept.sum(), 1.0)
            return float(np.sum(np.where((p > 0) & (q > 0), p * np.log(p / q), 0.0)))

    return min(_narrower(statistics), key=lambda ends: divergence(*ends))


def _integers(statistics: TensorStatistics, bits: int) -> tuple[float, float]:
    """Of a tensor that holds integers already, as models make that quantize by themselves: most of them, exactly."""
    width = 2**bits - 1
    first, last = min(statistics.low, 0.0), max(statistics.high, 0.0)
    if not statistics.whole or last - first > _MOST_WIDTHS * width:
        return _ends(statistics, bits)
    starts = np.arange(first, max(last - width, first) + 1)
    summed, centers = np.cumsum(statistics.counts), statistics.centers
    below, inside = (np.searchsorted(centers, starts + ends) - 1 for ends in (-0.5, width + 0.5))
    held = np.where(inside >= 0, summed[inside], 0) - np.where(below >= 0, summed[below], 0)
    start = float(starts[held.argmax()])
    return min(start, 0.0), max(start + width, 0.0)


def _narrower(statistics: TensorStatistics) -> list[tuple[float, float]]:
    """The ends, and ranges within them that are ever smaller."""
    factors = np.geomspace(1.0, 0.125, _STEPS)
    return [(statistics.low * factor, statistics.high * factor) for factor in factors.tolist()]


METHODS: Mapping[str, Callable[[TensorStatistics, int], tuple[float, float]]] = MappingProxyType(
    {
        "minmax": _ends,
        "percentile-99.999": _percentile(0.99999),
        "percentile-99.99": _percentile(0.9999),
        "percentile-99.9": _percentile(0.999),
        "mse": _mean_square,
        "entropy": _entropy,
        "integers": _integers,
    }
)

"""What is kept of the values of a tensor: ends, and a histogram that grows with them, of a fixed number of bins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .samples import Array

BINS = 4096  # over [-reach, reach]; a multiple of four, so that halves can be merged
_MOST_COUNTED = 1 << 16  # elements of one sample of a tensor in the histogram, spread evenly; the ends are of all
_LEAST_REACH = 2.0**-100

Counts = npt.NDArray[np.int64]


@dataclass
class TensorStatistics:
    """Of all samples so far.

    Attributes:
        samples: how many.
        low, high: the least and the greatest value.
        reach: a power of two; the histogram is over [-reach, reach].
        counts: int64[BINS].
        not_finite: how many values were NaN or infinite.
        whole: whether all values were integers.
    """

    samples: int = 0
    low: float = math.inf
    high: float = -math.inf
    reach: float = _LEAST_REACH
    counts: Counts = field(default_factory=lambda: np.zeros(BINS, np.int64))
    not_finite: int = 0
    whole: bool = True

    def add(self, values: Array) -> None:
        """Takes one sample's tensor, of floats, into account."""
        self.samples += 1
        if values.size == 0:
            return
        flat = values.reshape(-1)
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            finite = flat[np.isfinite(flat)]
            self.not_finite += flat.size - finite.size
            if finite.size == 0:
                return
            flat, low, high = finite, float(finite.min()), float(finite.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        largest = max(abs(low), abs(high))
        if largest > self.reach:
            self._grow(2.0 ** math.ceil(math.log2(largest)))
        # An odd stride meets all channels of a tensor whose innermost axis is a power of two.
        stride = max(1, flat.size // _MOST_COUNTED) | 1
        taken = flat[::stride] if flat.size > _MOST_COUNTED else flat
        places = (taken * np.float32(BINS / 2 / self.reach) + np.float32(BINS / 2)).astype(np.int32)
        self.whole = self.whole and bool((taken == np.rint(taken)).all())
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def _grow(self, reach: float) -> None:
        """Merges bins, two in one, until they are over the wider range."""
        if not self.counts.any():
            self.reach = max(reach, _LEAST_REACH)
            return
        while self.reach < reach:
            merged = np.zeros_like(self.counts)
            merged[BINS // 4 : 3 * BINS // 4] = self.counts.reshape(-1, 2).sum(1)
            self.counts, self.reach = merged, self.reach * 2

    @property
    def centers(self) -> Array:
        """The middle of each bin."""
        return (np.arange(BINS) + 0.5) * (2 * self.reach / BINS) - self.reach

    @property
    def is_empty(self) -> bool:
        """Whether nothing finite was seen."""
        return self.low > self.high

    def clipped_share(self, low: float, high: float) -> float:
        """The share of values beyond a range."""
        total = int(self.counts.sum())
        beyond = (self.centers < low) | (self.centers > high)
        return float(self.counts[beyond].sum() / total) if total else 0.0


def to_arrays(statistics: Mapping[str, TensorStatistics]) -> dict[str, Array]:
    """All of them as a few arrays, in the order of their names."""
    values = list(statistics.values())
    return {
        "counts": np.stack([each.counts for each in values]) if values else np.zeros((0, BINS), np.int64),
        "numbers": np.array(
            [(each.samples, each.low, each.high, each.reach, each.not_finite, each.whole) for each in values]
        ),
    }


def from_arrays(names: list[str], arrays: Mapping[str, Array]) -> dict[str, TensorStatistics]:
    """What `to_arrays` made arrays of."""
    found = {}
    for name, counts, numbers in zip(names, arrays["counts"], arrays["numbers"].reshape(len(names), -1), strict=True):
        samples, low, high, reach, not_finite, whole = numbers.tolist()
        found[name] = TensorStatistics(int(samples), low, high, reach, np.array(counts), int(not_finite), bool(whole))
    return found

"""Samples in one pass: most are calibrated with, some are held out to judge by, and a few of both are kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np

from .samples import Sample

_HELD_EVERY, _HELD_AT = 4, 1  # of four samples the second
_MOST_HELD, _MOST_KEPT = 128, 128
_FEWEST_TRIED, _MOST_TRIED = 8, 64
_TRIED_BYTES = 640 << 20  # of the tensors that those give, in the end
_MOST_BYTES = 64 << 20  # of the samples that are kept, and of those that are held out
_MOST_AHEAD = 32


@dataclass
class Split:
    """An iterable of the samples to calibrate with; once it was passed, the others are here.

    Attributes:
        samples: all of them.
        held: those that are held out.
        kept: the first of those that are calibrated with.
        count: how many there were, held ones included.
        differ: whether two of them do.
    """

    samples: Iterable[Sample]
    held: list[Sample] = field(default_factory=list)
    kept: list[Sample] = field(default_factory=list)
    count: int = 0
    differ: bool = False

    def tried(self, tensor_bytes: int) -> list[Sample]:
        """Some to choose ranges and biases by: the fewer, the more bytes of tensors each of them gives."""
        return self.kept[: _few(tensor_bytes)]

    def judging(self, tensor_bytes: int) -> list[Sample]:
        """As many of those that are held out, to judge corrections by."""
        return self.held[: _few(tensor_bytes)]

    def ahead(self) -> tuple[list[Sample], list[Sample]]:
        """The first samples to calibrate with, and the first that are held out, before the pass."""
        rest = iter(self.samples)
        first: list[Sample] = []
        room = _MOST_BYTES
        for sample in islice(rest, _MOST_AHEAD):
            first.append(sample)
            room -= _bytes(sample)
            if room < 0 and len(first) > _HELD_AT:
                break
        self.samples = chain(first, rest)
        held = [sample for number, sample in enumerate(first) if number % _HELD_EVERY == _HELD_AT]
        return [sample for number, sample in enumerate(first) if number % _HELD_EVERY != _HELD_AT], held

    def __iter__(self) -> Iterator[Sample]:
        self.held, self.kept, self.count, self.differ = [], [], 0, False
        first: Sample = {}
        for sample in self.samples:
            first = first or sample
            self.differ = self.differ or any(not np.array_equal(each, first[name]) for name, each in sample.items())
            place = self.count % _HELD_EVERY
            self.count += 1
            if place == _HELD_AT and _has_room(self.held, sample, _MOST_HELD):
                self.held.append(sample)
                continue
            if _has_room(self.kept, sample, _MOST_KEPT):
                self.kept.append(sample)
            yield sample


def _few(tensor_bytes: int) -> int:
    return min(max(_TRIED_BYTES // max(tensor_bytes, 1), _FEWEST_TRIED), _MOST_TRIED)


def _has_room(samples: Sequence[Sample], sample: Sample, most: int) -> bool:
    """Whether one more is kept; all of a model are of one size."""
    return not samples or (len(samples) < most and (len(samples) + 1) * _bytes(sample) <= _MOST_BYTES)


def _bytes(sample: Sample) -> int:
    return sum(array.nbytes for array in sample.values())

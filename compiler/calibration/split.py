"""Samples in one pass: most are calibrated with, some are held out to judge by, and the first few are tried with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .samples import Sample

_HELD_EVERY, _HELD_AT = 4, 1  # of four samples the second
_MOST_HELD, _MOST_TRIED = 128, 8
_MOST_BYTES = 128 << 20  # of the samples that are kept


@dataclass
class Split:
    """An iterable of the samples to calibrate with; once it was passed, the others are here.

    Attributes:
        samples: all of them.
        held: those that are held out.
        tried: the first of those that are calibrated with.
        count: how many there were, held ones included.
    """

    samples: Iterable[Sample]
    held: list[Sample] = field(default_factory=list)
    tried: list[Sample] = field(default_factory=list)
    count: int = 0

    def __iter__(self) -> Iterator[Sample]:
        self.held, self.tried, self.count = [], [], 0
        room = _MOST_BYTES
        for sample in self.samples:
            size = sum(array.nbytes for array in sample.values())
            place = self.count % _HELD_EVERY
            self.count += 1
            if place == _HELD_AT and len(self.held) < _MOST_HELD and (size <= room or not self.held):
                room -= size
                self.held.append(sample)
                continue
            if len(self.tried) < _MOST_TRIED and (size <= room or not self.tried):
                room -= size
                self.tried.append(sample)
            yield sample

"""The samples of a search: every other one is fitted and calibrated on, the rest judge what comes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from ...errors import CalibrationError, DataError
from ..calibration.samples import Array, Sample
from ..evaluation.metrics import label_count

_MOST_FITTED, _MOST_HELD = 128, 500
_MOST_BYTES = 256 << 20  # of all that are kept
_LEAST = 4


@dataclass(frozen=True)
class Data:
    """Samples, and what they are checked against.

    Attributes:
        fitted, held: two halves.
        labels: of those that are held; None without labels.
        digest: a checksum of all.
    """

    fitted: tuple[Sample, ...]
    held: tuple[Sample, ...]
    labels: Array | None
    digest: str


def data_of(samples: Iterable[Sample], labels: Array | None = None) -> Data:
    """Reads samples, as many as are of use.

    Args:
        labels: one for each sample, on the first axis.

    Raises:
        CalibrationError: there are too few.
        DataError: there are not as many labels as samples.
    """
    count = 0 if labels is None else label_count(labels)
    halves: tuple[list[Sample], list[Sample]] = ([], [])
    most, places = (_MOST_FITTED, _MOST_HELD), []
    digest, room = hashlib.sha256(), _MOST_BYTES
    number = -1
    for number, sample in enumerate(samples):
        if labels is not None and number >= count:
            raise DataError(f"there are more samples than labels, of which there are {count}", where="--labels")
        half = number % 2
        room -= sum(array.nbytes for array in sample.values())
        if room < 0 or all(len(each) >= limit for each, limit in zip(halves, most, strict=True)):
            break
        if len(halves[half]) < most[half]:
            halves[half].append(sample)
            places += [number] if half else []
            for name in sorted(sample):
                digest.update(name.encode() + sample[name].tobytes())
    else:
        if labels is not None and number + 1 != count:
            raise DataError(f"there are {number + 1} samples and {count} labels", where="--labels")
    if len(halves[0]) + len(halves[1]) < _LEAST:
        held = len(halves[0]) + len(halves[1])
        raise CalibrationError(
            f"the data holds {held} samples, and {_LEAST} are needed at least", where="--calibration"
        )
    theirs = None if labels is None else labels[places]
    digest.update(b"" if theirs is None else theirs.tobytes())
    return Data(tuple(halves[0]), tuple(halves[1]), theirs, digest.hexdigest())

"""One pass over the samples: the statistics of tensors, written down every few samples so that a kill loses little."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..process.install import written_whole
from ..process.places import output_errors
from ..process.progress import ProgressCallback
from .samples import Sample
from .statistics import TensorStatistics, from_arrays, to_arrays
from .tapped import Tapped

_FLUSH_SECONDS = 5.0


@dataclass(frozen=True)
class State:
    """Where statistics are kept between runs.

    Attributes:
        path: the file; None keeps nothing.
        key: what they are of: another model, or other tensors, begin anew.
    """

    path: Path | None
    key: str

    def read(self, names: Sequence[str]) -> tuple[dict[str, TensorStatistics], str]:
        """The statistics so far and the digest of the samples that they are of; of nothing where none are kept."""
        nothing = {name: TensorStatistics() for name in names}, ""
        if self.path is None or not self.path.is_file():
            return nothing
        try:
            with np.load(self.path, allow_pickle=False) as loaded:
                about = json.loads(str(loaded["about"]))
                if about["key"] != self.key or about["names"] != list(names):
                    return nothing
                return from_arrays(list(names), loaded), str(about["seen"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return nothing  # damaged: nothing is lost but time

    def write(self, statistics: dict[str, TensorStatistics], seen: str) -> None:
        """Keeps them, whole or not at all."""
        if self.path is None:
            return
        about = json.dumps({"key": self.key, "names": list(statistics), "seen": seen})
        with output_errors(self.path), written_whole(self.path) as file:
            np.savez(file, allow_pickle=False, about=np.asarray(about), **to_arrays(statistics))

    def remove(self) -> None:
        """They are no longer needed."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def collect(
    model: Tapped,
    samples: Iterable[Sample],
    names: Sequence[str],
    state: State,
    tell: ProgressCallback,
    total: int = 0,
) -> dict[str, TensorStatistics]:
    """The statistics of tensors over all samples, those that an earlier run saw taken from its file.

    Args:
        model: gives the tensors.
        names: of them.
        total: how many samples there will be, where that is known.
    """
    statistics, seen = state.read(names)
    done = next(iter(statistics.values())).samples if statistics else 0
    digest, passed = Digest(), 0
    written = time.monotonic()
    for sample in samples:
        tell("calibrate", passed, total)
        digest.add(sample)
        passed += 1
        if passed <= done:
            if passed == done and digest.text != seen:  # other samples than those that were seen
                return collect(model, samples, names, _emptied(state), tell, total)
            continue
        for part in model.run(sample):
            for name in part.keys() & statistics.keys():
                statistics[name].add(part[name])
        if time.monotonic() - written > _FLUSH_SECONDS:
            state.write(statistics, digest.text)
            written = time.monotonic()
    state.write(statistics, digest.text)
    return statistics


def _emptied(state: State) -> State:
    state.remove()
    return state


class Digest:
    """A checksum of samples in their order, of some at once or one after the other."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        for sample in samples:
            self.add(sample)

    def add(self, sample: Sample) -> None:
        """Takes one into account."""
        for name in sorted(sample):
            self._digest.update(name.encode() + sample[name].tobytes())

    @property
    def text(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()

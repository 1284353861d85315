"""Several libraries on the same data: what they are worth there; what they take of time, memory, size and energy."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import CalibrationError, DataError, UsageError
from ..calibration.samples import Sample
from ..library.artifact import CompiledModel
from ..process.progress import ProgressCallback
from ..runners.local import prepared, time_runs
from .energy import Meter, counters
from .metrics import Array, Metric, label_count, relative_error, stacked

_TURNS, _TURN_SECONDS, _SETTLE_SECONDS = 15, 0.02, 0.01
_ENERGY_SECONDS = 1.0  # that a library runs while its energy is counted
_MOST_BYTES = 1 << 30  # of outputs


@dataclass(frozen=True)
class Evaluated:
    """A library on data.

    Attributes:
        path: its file.
        quality: by the metric.
        error: of its outputs, as a share of the first library's.
        seconds, fast_seconds: of a run: the median of turns, and the least.
        bytes, weights_bytes, workspace_bytes: of its file, its constants, and the memory of a call besides.
        joules: of a run of the whole processor; None where the machine does not tell.
        precision: what it computes in.
    """

    path: Path
    quality: float
    error: float
    seconds: float
    fast_seconds: float
    bytes: int
    weights_bytes: int
    workspace_bytes: int
    joules: float | None
    precision: str


def evaluate(
    libraries: Sequence[CompiledModel],
    samples: Sequence[Sample],
    labels: Array | None,
    metric: Metric,
    tell: ProgressCallback,
) -> list[Evaluated]:
    """Runs all libraries on all samples, and times them in turns on the first.

    Args:
        libraries: with the same inputs; the first is what agreement is with, without labels.
        labels: one for each sample, on the first axis.

    Raises:
        UsageError: the libraries take or give different things, or the metric fails.
        CalibrationError: there are no samples.
        DataError: there are as many labels as there are not samples.
    """
    _check(libraries)
    if not samples:
        raise CalibrationError("the data holds no samples", where="--data")
    if labels is not None and label_count(labels) != len(samples):
        raise DataError(f"there are {len(samples)} samples and {len(labels)} labels", where="--labels")
    outputs = [stacked(each) for each in _run(libraries, samples, tell)]
    times, energy = _timed(libraries, samples[0], tell)
    return [
        Evaluated(
            library.path,
            metric(made, labels, outputs[0]),
            relative_error(made, outputs[0]),
            statistics.median(taken),
            min(taken),
            library.path.stat().st_size,
            int(library.signature.weights_bytes),
            int(library.workspace_bytes),
            joules,
            library.precision,
        )
        for library, made, taken, joules in zip(libraries, outputs, times, energy, strict=True)
    ]


def _check(libraries: Sequence[CompiledModel]) -> None:
    first = libraries[0]
    for other in libraries[1:]:
        for what, ours, theirs in (("takes", first.inputs, other.inputs), ("gives", first.outputs, other.outputs)):
            if list(map(str, ours)) != list(map(str, theirs)):
                raise UsageError(
                    f"the library {what} something else than {first.path}",
                    where=str(other.path),
                    hint=f"{', '.join(map(str, theirs))} instead of {', '.join(map(str, ours))}",
                )


def _run(
    libraries: Sequence[CompiledModel], samples: Sequence[Sample], tell: ProgressCallback
) -> list[list[Mapping[str, Array]]]:
    """The outputs of each library for each sample."""
    results: list[list[Mapping[str, Array]]] = [[] for _ in libraries]
    room = _MOST_BYTES
    for number, sample in enumerate(samples):
        tell("run", number, len(samples))
        for library, made in zip(libraries, results, strict=True):
            made.append(library.run(sample))
            room -= sum(array.nbytes for array in made[-1].values())
        if room < 0:
            raise CalibrationError(
                f"the outputs of {number + 1} samples take more than {_MOST_BYTES >> 20} MiB",
                where="--data",
                hint="give fewer samples, or fewer libraries at a time",
            )
    return results


def _timed(
    libraries: Sequence[CompiledModel], sample: Sample, tell: ProgressCallback
) -> tuple[list[list[float]], list[float | None]]:
    """Of each library the seconds of a run, in every turn the least, and the joules of one; they take turns."""
    runs = [prepared(each, sample) for each in libraries]
    times: list[list[float]] = [[] for _ in runs]
    for turn in range(_TURNS):
        tell("time", turn, _TURNS)
        for run, taken in zip(runs, times, strict=True):
            time.sleep(_SETTLE_SECONDS)  # threads of the library before are still spinning
            run()
            taken.append(min(time_runs(run, 3, _TURN_SECONDS)))
    energy: list[float | None] = []
    known = counters()
    for run in runs:
        if not known:
            energy.append(None)
            continue
        tell("energy", len(energy), len(runs))
        meter = Meter(known)
        count = len(time_runs(run, 3, _ENERGY_SECONDS))
        joules = meter.joules()
        energy.append(None if joules is None else joules / count)
    return times, energy

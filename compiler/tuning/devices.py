"""Measures candidates on devices, several at a time: one that is lost is left out, and another does its work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ...errors import DeviceLostError
from ..library.artifact import read_file
from ..library.dimensions import bounds_of
from ..library.library_file import LibraryFile
from ..runners.device import HEADER, STILL_SECONDS, DeviceRunner, Place, Profiled, outputs_of, printed_by
from ..runners.places import places_of
from .measure import Job, Measured, Measurer
from .timings import LEAST_ROUNDS, agrees, timings_of

_MOST_SECONDS = 1800.0  # that a library may take
_STOOD_STILL = 3  # the code that `runtime/device.c` ends with then


class Devices:
    """Places that share the libraries among each other."""

    def __init__(
        self,
        places: Sequence[Place],
        warn: Callable[[str], None] = lambda text: None,
        still_seconds: int = STILL_SECONDS,
    ) -> None:
        """Gets ready.

        Args:
            places: one or more; a place that can run several programs at a time stands there several times.
            warn: told of each that is lost.
            still_seconds: how long a kernel may take before it counts as hung.
        """
        self.width = self._left = len(places)
        self._warn = warn
        self._still_seconds = still_seconds
        self._runners: dict[tuple[Place, int], DeviceRunner] = {}
        self._free: queue.Queue[Place | None] = queue.Queue()  # None: there is none any more
        self._counting = threading.Lock()
        for place in places:
            self._free.put(place)

    def measured(self, jobs: Iterable[Job]) -> list[Measured]:
        """Runs each library on a place that is free."""
        with ThreadPoolExecutor(max(1, self.width)) as threads:
            waiting = [threads.submit(self._somewhere, job) for job in jobs]
            try:
                return [each.result() for each in waiting]
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def _somewhere(self, job: Job) -> Measured:
        while (place := self._free.get()) is not None:
            try:
                found = self._measured(place, job)
            except DeviceLostError as error:
                self._leave_out(error)
                continue
            except BaseException:
                self._free.put(place)
                raise
            self._free.put(place)
            return found
        self._free.put(None)
        raise DeviceLostError("no device is left", where="--device", hint="what was measured is in the records")

    def _leave_out(self, error: DeviceLostError) -> None:
        with self._counting:
            self._left -= 1
            self.width = max(1, self._left)
            self._warn(f"{error.where}: a device is lost, {self._left} left: {error.what}")
            if not self._left:
                self._free.put(None)

    def _measured(self, place: Place, job: Job) -> Measured:
        library = read_file(job.library)
        with np.load(job.inputs) as values:
            inputs = {spec.name: values[spec.name] for spec in library.signature.inputs}
        found = self._runner(place, job.threads).profile(
            library,
            inputs,
            runs=LEAST_ROUNDS + 1,
            seconds=job.seconds,
            still_seconds=self._still_seconds,
            most_seconds=_MOST_SECONDS,
        )
        return _what_came(library, job, found, place)

    def _runner(self, place: Place, threads: int) -> DeviceRunner:
        """The one that has its programs built already."""
        if (place, threads) not in self._runners:
            self._runners[place, threads] = DeviceRunner(place, threads)
        return self._runners[place, threads]


def _what_came(library: LibraryFile, job: Job, found: Profiled, place: Place) -> Measured:
    """Reads what the program wrote, however it ended."""
    steps, words, ended = len(library.signature.steps), found.words, found.ended
    if ended.code == 0:
        outputs = outputs_of(library, found.outputs, bounds_of(library.signature.dimensions))
        rounds = found.rounds(steps).astype(np.float64)
        wrong = [number for number, trial in enumerate(job.trials) if not agrees(trial, outputs, job.rtol)]
        return Measured(tuple(timings_of(job.trials, list(rounds))), frozenset(wrong))
    if words.size < HEADER or not words[0]:
        printed_by(ended, str(place))
    last = words[HEADER + int(words[1]) * steps :][:steps]
    done = np.flatnonzero(last)
    return Measured(
        dead_step=int(done[-1]) + 1 if done.size else 0, hung=ended.code is None or ended.code == _STOOD_STILL
    )


def measurer_of(devices: Sequence[str], warn: Callable[[str], None]) -> Measurer | None:
    """What measures on devices, by their texts; None where there are none.

    Raises:
        UsageError: there is no such device.
        DeviceLostError: a farm has none.
    """
    places = [place for device in devices for place in places_of(device)]
    return Devices(places, warn) if places else None

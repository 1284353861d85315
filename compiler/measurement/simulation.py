"""The time that a library would take on more processors than there are: each task is run alone, and the slowest counts.

    time of a kernel = what it does outside of parallel loops
                     + for each parallel loop its slowest task, and a hand-off where there are several
    and at least       its bytes over what so many cores stream together

Tasks run one after another on one processor, in order, and each finds in the caches what those before it left. So the
first tasks of a kernel read what all tasks share, weights and code, from where every core has to fetch it, and as the
slowest counts this is in the sum. What the kernel before it wrote may be nearer than on another core, or farther,
since N cores have N times the caches of one. Not in the sum: that processors slow down when all of them compute.

Of all runs of a task the time counts that a fifth of them are below, and so for whole runs: some are interrupted, the
longer the more often, and undisturbed ones differ by less than that.

Bytes are those of the roofline (`roofline.py`), at the bandwidth of N cores. Where a model's weights and workspace are
more than the last cache holds, its weights come from memory in every run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ComparisonError
from ...schedules.templates.sharing import hand_off_rounds
from ...targets.architectures import ARCHITECTURES
from ...targets.host import available_cores, read_host
from ..runners.local import prepared, time_runs
from .bench import work_of
from .machine_peak import Peak, measured_peak, with_more_cores
from .roofline import Work

if TYPE_CHECKING:
    from ..library.artifact import Array, CompiledModel
    from ..library.signature import Signature
    from ..process.progress import ProgressCallback

# A hand-off is measured so often, in turns, while there is time. Where others compute, many of them wait for a
# processor, so that the time counts which a tenth of them are below.
_HAND_OFFS, _TURN, _HAND_OFF_SECONDS, _HAND_OFF_QUANTILE = 2000, 20, 1.0, 0.1
# The share of runs that are faster than what counts.
_QUANTILE = 0.2
# A task of less than this share of the slowest one had no iterations: what is left is reading the clock.
_IDLE = 0.02
_IDLE_SECONDS = 60e-9


@dataclass(frozen=True)
class Launch:
    """The seconds of each task of a parallel loop."""

    tasks: tuple[float, ...]

    @property
    def slowest(self) -> float:
        """The seconds of the task that all wait for."""
        return max(self.tasks)

    @property
    def busy(self) -> int:
        """Tasks that have something to do."""
        least = max(self.slowest * _IDLE, _IDLE_SECONDS)
        return max(1, sum(seconds > least for seconds in self.tasks))


@dataclass(frozen=True)
class Step:
    """A step of one run: seconds outside of parallel loops, and those loops."""

    serial: float
    launches: tuple[Launch, ...]

    @property
    def seconds(self) -> float:
        """All of it, one task after another."""
        return self.serial + sum(sum(launch.tasks) for launch in self.launches)


@dataclass(frozen=True)
class SimulatedKernel:
    """A step of a library on N cores.

    Attributes:
        work: what it does.
        alone: seconds with one thread.
        shared: the step in tasks for N threads.
        hand_off: seconds that waking the other threads takes, and waiting for them.
        moving: seconds that N cores need for its bytes.
        threads: N.
    """

    work: Work
    alone: float
    shared: Step
    hand_off: float
    moving: float
    threads: int

    @property
    def computing(self) -> float:
        """Seconds until the last core is done, if bytes come as fast as to one core."""
        return self.shared.serial + sum(launch.slowest for launch in self.shared.launches) + self.hand_off

    @property
    def seconds(self) -> float:
        """The time on N cores."""
        return max(self.computing, self.moving)

    @property
    def speedup(self) -> float:
        """How many times faster than one core."""
        return self.alone / self.seconds if self.seconds else 1.0

    @property
    def lost(self) -> float:
        """Seconds above the N-th part of the time of one core."""
        return max(0.0, self.seconds - self.alone / self.threads)

    @property
    def tasks(self) -> int:
        """Cores that have something to do, in the loop that takes longest; 1 where nothing is shared."""
        return max(self.shared.launches, key=lambda launch: launch.slowest, default=Launch((0.0,))).busy

    @property
    def balance(self) -> float | None:
        """The mean of the tasks that have something to do over the slowest; None where nothing is shared."""
        slowest = sum(launch.slowest for launch in self.shared.launches)
        means = sum(sum(launch.tasks) / launch.busy for launch in self.shared.launches)
        return min(1.0, means / slowest) if slowest else None

    @property
    def hand_off_share(self) -> float:
        """The hand-off's share of its time."""
        return self.hand_off / self.seconds if self.seconds else 0.0

    @property
    def is_moving(self) -> bool:
        """Whether bytes hold it back."""
        return self.moving > self.computing

    def to_json(self) -> dict[str, object]:
        """The row as JSON takes it: times in microseconds."""
        return {
            "step": self.work.step,
            "kernel": self.work.kernel,
            "template": self.work.template,
            "sources": list(self.work.sources),
            "microseconds_alone": self.alone * 1e6,
            "microseconds": self.seconds * 1e6,
            "speedup": self.speedup,
            "lost_microseconds": self.lost * 1e6,
            "tasks": self.tasks,
            "balance": self.balance,
            "serial_microseconds": self.shared.serial * 1e6,
            "hand_off_microseconds": self.hand_off * 1e6,
            "moving_microseconds": self.moving * 1e6,
            "launches": [[seconds * 1e6 for seconds in launch.tasks] for launch in self.shared.launches],
        }


@dataclass(frozen=True)
class Simulation:
    """A library on N cores.

    Attributes:
        kernels: its steps, those first that lose most of N times the speed.
        threads: N.
        hand_off: seconds that it takes to share a loop among N threads.
        hand_off_threads: with how many threads that was measured; with fewer than N it is extrapolated, and nothing
            where there is one processor.
        peak: ceilings of N cores.
        peak_is_measured: whether with N cores; otherwise those of one core times N, up to what the architecture's row
            says that all cores get.
        measured: seconds of runs with N threads, in turns with the simulation; None with fewer processors.
    """

    kernels: tuple[SimulatedKernel, ...]
    threads: int
    hand_off: float
    hand_off_threads: int
    peak: Peak
    peak_is_measured: bool
    measured: float | None

    @property
    def alone(self) -> float:
        """Seconds with one thread."""
        return sum(kernel.alone for kernel in self.kernels)

    @property
    def seconds(self) -> float:
        """Seconds with N."""
        return sum(kernel.seconds for kernel in self.kernels)

    @property
    def speedup(self) -> float:
        """How many times faster than one core."""
        return self.alone / self.seconds if self.seconds else 1.0

    def with_few_tasks(self, share: float) -> list[SimulatedKernel]:
        """The kernels of at least so much of the time that leave cores without work."""
        return [each for each in self.kernels if each.tasks < self.threads and each.seconds >= share * self.seconds]

    def to_json(self) -> dict[str, Any]:
        """What `bench` adds to its JSON."""
        return {
            "simulation": {
                "threads": self.threads,
                "milliseconds_alone": self.alone * 1e3,
                "milliseconds": self.seconds * 1e3,
                "speedup": self.speedup,
                "measured_milliseconds": None if self.measured is None else self.measured * 1e3,
                "hand_off": {"microseconds": self.hand_off * 1e6, "measured_with": self.hand_off_threads},
                "levels": [
                    {"name": each.name, "capacity": each.capacity, "gbytes_per_second": each.bytes_per_second / 1e9}
                    for each in self.peak.levels
                ],
                "levels_measured": self.peak_is_measured,
                "kernels": [kernel.to_json() for kernel in self.kernels],
            }
        }


def simulate(
    model: CompiledModel,
    inputs: Mapping[str, Array],
    *,
    threads: int,
    repeat: int,
    progress: ProgressCallback | None = None,
) -> Simulation:
    """Simulates so many threads, on one processor, and measures them too where there are so many.

    Leaves the library with the threads that it has by itself.

    Args:
        repeat: counted runs.

    Raises:
        UsageError: the library was built for one thread, or cannot use so many.
        ToolError: it was stripped, or there is no C compiler to measure the machine with.
        ComparisonError: a simulated run gave other bits than a usual one.
    """
    tell = progress or (lambda stage, done, total: None)
    cores = available_cores()
    expected = model.run(inputs)
    call = prepared(model, inputs) if threads <= cores else None
    alone: list[list[Step]] = []
    shared: list[list[Step]] = []
    measured: list[float] = []
    for done in range(repeat + 1):
        tell(f"{threads} threads", done, repeat)
        for count, runs in ((1, alone), (threads, shared)):
            results, stream = model.simulate(inputs, count)
            _check_same(expected, results, model, count)
            runs.append(list(read_steps(stream, len(model.signature.steps))))
        if call is not None:
            model.set_num_threads(threads)
            measured += time_runs(call, 2)[1:]  # the first wakes the threads
    tell("hand-off", 0, 0)
    hand_off_threads = min(threads, cores)
    hand_off = _hand_off(model, threads, hand_off_threads)
    tell("the machine's bandwidth", 0, 0)
    peak = measured_peak(threads if threads <= cores else 1)
    if threads > cores:
        peak = with_more_cores(peak, threads, ARCHITECTURES[model.signature.arch].core, read_host())
    model.set_num_threads(0)
    rows = zip(
        work_of(model.signature),
        moving_seconds(model.signature, peak, read_host().l3_bytes),
        zip(*alone[1:], strict=True),  # the first run warms up
        zip(*shared[1:], strict=True),
        strict=True,
    )
    kernels = []
    for work, moving, once, several in rows:
        step = _typical_step(several)
        costs = hand_off * sum(_hand_off_share(launch, threads) for launch in step.launches)
        # The tasks together are the same iterations in the same order, and shorter runs are disturbed less often.
        seconds = min(_typical([run.seconds for run in once]), step.seconds)
        kernels.append(SimulatedKernel(work, seconds, step, costs, moving, threads))
    return Simulation(
        tuple(sorted(kernels, key=lambda kernel: -kernel.lost)),
        threads,
        hand_off,
        hand_off_threads,
        peak,
        threads <= cores,
        _typical(measured[1:]) if measured else None,
    )


def read_steps(stream: Iterable[int], count: int) -> Iterator[Step]:
    """The steps that a stream of `CompiledModel.simulate` tells of, a step that ran several times as one.

    Args:
        count: of steps.
    """
    serial = [0.0] * count
    launches: list[list[Launch]] = [[] for _ in range(count)]
    pending: list[Launch] = []
    numbers = iter(int(number) for number in stream)
    for tasks in numbers:
        if tasks:
            pending.append(Launch(tuple(next(numbers) / 1e9 for _ in range(tasks))))
        else:
            step = next(numbers)
            serial[step] += next(numbers) / 1e9
            launches[step] += pending
            pending = []
    return (Step(seconds, tuple(loops)) for seconds, loops in zip(serial, launches, strict=True))


def moving_seconds(signature: Signature, peak: Peak, last_cache_bytes: int) -> list[float]:
    """For each step the seconds that cores with these ceilings need for its bytes."""
    resident = signature.weights_bytes + signature.workspace_bytes <= last_cache_bytes
    memory = peak.levels[-1].bytes_per_second
    rows = []
    for step, work in zip(signature.steps, work_of(signature), strict=True):
        constants = signature.kernels[step.kernel].constant_bytes if step.kernel >= 0 and not resident else 0
        rows.append(max(peak.memory_seconds(work.bytes), constants / memory) if work.bytes else 0.0)
    return rows


def _typical(seconds: Sequence[float], quantile: float = _QUANTILE) -> float:
    """What counts of several runs."""
    return float(np.quantile(seconds, quantile))


def _typical_step(runs: Sequence[Step]) -> Step:
    """What counts of each part of a step by itself. Where runs differ in their loops, the last one."""
    if len({tuple(len(launch.tasks) for launch in run.launches) for run in runs}) > 1:
        return runs[-1]
    loops = zip(*(run.launches for run in runs), strict=True)
    launches = tuple(
        Launch(tuple(map(_typical, zip(*(launch.tasks for launch in each), strict=True)))) for each in loops
    )
    return Step(_typical([run.serial for run in runs]), launches)


def _hand_off(model: CompiledModel, threads: int, measured_with: int) -> float:
    """Seconds to share a loop among so many threads, from what it costs with some of them."""
    if measured_with == 1:
        return 0.0
    times: list[int] = []
    end = time.perf_counter() + _HAND_OFF_SECONDS
    while not times or (len(times) < _HAND_OFFS and time.perf_counter() < end):
        times += model.hand_offs(measured_with, _TURN)
    return _typical(times, _HAND_OFF_QUANTILE) / 1e9 * hand_off_rounds(threads) / hand_off_rounds(measured_with)


def _hand_off_share(launch: Launch, threads: int) -> float:
    """The share of the hand-off to all threads that one to those of a launch costs."""
    return hand_off_rounds(len(launch.tasks)) / hand_off_rounds(threads) if len(launch.tasks) > 1 else 0.0


def _check_same(expected: Mapping[str, Array], actual: Mapping[str, Array], model: CompiledModel, threads: int) -> None:
    different = [name for name in expected if expected[name].tobytes() != actual[name].tobytes()]
    if different:
        raise ComparisonError(
            f"outputs have other bits when {threads} threads share the work: {', '.join(different)}",
            where=str(model.path),
            hint="this is a fault of Tilewright: please report it with the model",
        )

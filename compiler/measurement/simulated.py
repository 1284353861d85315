"""A library on more cores than there are, as data. What times mean: `simulation.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...schedules.templates.sharing import hand_off_rounds
from .machine_peak import Peak
from .roofline import Work

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
class HandOff:
    """What it costs to share a loop among threads.

    Attributes:
        one: seconds to wake one thread more than the caller's and to wait for it.
        measured_with: threads with which that was measured; 0: it is the number in the architecture's row.
    """

    one: float
    measured_with: int

    def seconds(self, threads: int) -> float:
        """With so many threads."""
        return self.one * hand_off_rounds(threads)


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
        hand_off: what it costs to share a loop.
        peak: ceilings of N cores.
        peak_is_measured: whether with N cores; otherwise those of one core times N, up to what the architecture's row
            says that all cores get.
        measured: seconds of runs with N threads, in turns with the simulation; None with fewer processors.
    """

    kernels: tuple[SimulatedKernel, ...]
    threads: int
    hand_off: HandOff
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
                "hand_off": {
                    "microseconds": self.hand_off.seconds(self.threads) * 1e6,
                    "measured_with": self.hand_off.measured_with or None,
                },
                "levels": [
                    {"name": each.name, "capacity": each.capacity, "gbytes_per_second": each.bytes_per_second / 1e9}
                    for each in self.peak.levels
                ],
                "levels_measured": self.peak_is_measured,
                "kernels": [kernel.to_json() for kernel in self.kernels],
            }
        }

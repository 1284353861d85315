"""The roofline of a library: for each kernel the time below which it cannot fall, and what is lost above that.

A kernel does so many operations and moves so many bytes. It takes at least operations / peak, and at least
bytes / bandwidth of the fastest level of memory that holds all its bytes; the larger of both is its bound. Operations
are those of the direct algorithm: a kernel that needs fewer of them, like Winograd's, may reach more than 100 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .machine_peak import Peak

COMPUTE, BANDWIDTH = "compute", "bandwidth"


@dataclass(frozen=True)
class Work:
    """What a step has to do: operations and bytes of the step (0: none, or not known), and where it came from.

    Attributes:
        step: its place in the order of execution, from 0.
        kernel: C name of its kernel, without the library's prefix.
        template: what scheduled it.
        sources: the nodes of the model that it computes.
        fallback: why another template did not, as in `plan.Kernel`.
    """

    step: int
    kernel: str
    template: str
    sources: tuple[str, ...]
    flops: int
    bytes: int
    fallback: str = ""


@dataclass(frozen=True)
class Bound:
    """The roof over some work.

    Attributes:
        kind: `COMPUTE` or `BANDWIDTH`: what takes longer.
        level: the level of memory that holds all its bytes; empty when they are not known.
        seconds: the time below which it cannot be done.
    """

    kind: str
    level: str
    seconds: float

    def __str__(self) -> str:
        """What holds the kernel back: ``compute``, or the level of memory: ``L2``."""
        return self.level if self.kind == BANDWIDTH else self.kind


@dataclass(frozen=True)
class KernelTime:
    """A step that was timed.

    Attributes:
        work: what it does.
        seconds: its median time.
        bound: its roof; None when neither operations nor bytes are known.
        peak_share: of the machine's measured peak in operations; None without operations.
    """

    work: Work
    seconds: float
    bound: Bound | None
    peak_share: float | None

    @property
    def intensity(self) -> float | None:
        """Operations for each byte; None without either."""
        return self.work.flops / self.work.bytes if self.work.flops and self.work.bytes else None

    @property
    def flops_per_second(self) -> float | None:
        """Operations a second; None without any."""
        return _ratio(self.work.flops, self.seconds)

    @property
    def bytes_per_second(self) -> float | None:
        """Bytes of its inputs, weights and outputs a second; None when they are not known."""
        return _ratio(self.work.bytes, self.seconds)

    @property
    def reached(self) -> float | None:
        """The bound's share of the time; None without a bound."""
        return _ratio(self.bound.seconds, self.seconds) if self.bound is not None else None

    @property
    def lost_seconds(self) -> float | None:
        """Time above the bound, 0 for what is faster; None without a bound."""
        return max(0.0, self.seconds - self.bound.seconds) if self.bound is not None else None

    def to_json(self) -> dict[str, object]:
        """The row as JSON takes it: times in microseconds, rates in 10**9 a second."""
        return {
            **asdict(self.work),
            "flops": self.work.flops or None,
            "bytes": self.work.bytes or None,
            "intensity": self.intensity,
            "microseconds": self.seconds * 1e6,
            "gflops": _scaled(self.flops_per_second, 1e-9),
            "gbytes_per_second": _scaled(self.bytes_per_second, 1e-9),
            "peak_share": self.peak_share,
            "bound": self.bound.kind if self.bound is not None else None,
            "level": self.bound.level or None if self.bound is not None else None,
            "bound_microseconds": self.bound.seconds * 1e6 if self.bound is not None else None,
            "reached": self.reached,
            "lost_microseconds": _scaled(self.lost_seconds, 1e6),
        }


@dataclass(frozen=True)
class Total:
    """Steps added up: all of a library, or those of one template. Seconds; what has no bound counts as not lost."""

    name: str
    steps: int
    seconds: float
    bound_seconds: float
    lost_seconds: float
    flops: int

    @property
    def reached(self) -> float | None:
        """The bounds' share of the time."""
        return _ratio(self.bound_seconds, self.seconds)

    @property
    def flops_per_second(self) -> float | None:
        """Operations a second; None without any."""
        return _ratio(self.flops, self.seconds)

    def to_json(self, whole: float) -> dict[str, object]:
        """The total as JSON takes it; `whole` are the seconds that its share is of."""
        return {
            "steps": self.steps,
            "microseconds": self.seconds * 1e6,
            "share": _ratio(self.seconds, whole),
            "bound_microseconds": self.bound_seconds * 1e6,
            "lost_microseconds": self.lost_seconds * 1e6,
            "reached": self.reached,
            "flops": self.flops or None,
            "gflops": _scaled(self.flops_per_second, 1e-9),
        }


@dataclass(frozen=True)
class Roofline:
    """The steps of a library under the ceilings of a machine; those that lose most time come first."""

    kernels: tuple[KernelTime, ...]
    peak: Peak

    @property
    def total(self) -> Total:
        """All steps together."""
        return _total("all", self.kernels)

    def by_template(self) -> list[Total]:
        """The steps of each template together, the one that takes most time first."""
        names = dict.fromkeys(row.work.template for row in self.kernels)
        totals = [_total(name, [row for row in self.kernels if row.work.template == name]) for name in names]
        return sorted(totals, key=lambda total: -total.seconds)

    def to_json(self) -> dict[str, Any]:
        """`machine`, `kernels` and `totals` as JSON takes them."""
        whole = self.total.seconds
        return {
            "machine": {
                "threads": self.peak.threads,
                "device": self.peak.device,
                "gflops": self.peak.flops_per_second / 1e9,
                "levels": [
                    {"name": each.name, "capacity": each.capacity, "gbytes_per_second": each.bytes_per_second / 1e9}
                    for each in self.peak.levels
                ],
            },
            "kernels": [row.to_json() for row in self.kernels],
            "totals": {
                **self.total.to_json(whole),
                "by_template": {total.name: total.to_json(whole) for total in self.by_template()},
            },
        }


def make_roofline(timed: Iterable[tuple[Work, float]], peak: Peak) -> Roofline:
    """Puts steps and their seconds under the ceilings of a machine."""
    rows = [
        KernelTime(work, seconds, bound_of(work, peak), _peak_share(work, seconds, peak)) for work, seconds in timed
    ]
    # What has no bound comes last, the slowest first.
    return Roofline(
        tuple(sorted(rows, key=lambda row: (row.bound is None, -(row.lost_seconds or 0), -row.seconds))), peak
    )


def bound_of(work: Work, peak: Peak) -> Bound | None:
    """The roof over some work; None when neither operations nor bytes are known."""
    if not work.flops and not work.bytes:
        return None
    compute = peak.compute_seconds(work.flops)
    moving = peak.memory_seconds(work.bytes) if work.bytes else 0.0
    level = peak.level_for(work.bytes).name if work.bytes else ""
    return Bound(COMPUTE, level, compute) if compute >= moving else Bound(BANDWIDTH, level, moving)


def _peak_share(work: Work, seconds: float, peak: Peak) -> float | None:
    rate = _ratio(work.flops, seconds)
    return rate / peak.flops_per_second if rate is not None else None


def _total(name: str, rows: Sequence[KernelTime]) -> Total:
    return Total(
        name,
        len(rows),
        seconds=sum(row.seconds for row in rows),
        bound_seconds=sum(row.bound.seconds for row in rows if row.bound is not None),
        lost_seconds=sum(row.lost_seconds or 0.0 for row in rows),
        flops=sum(row.work.flops for row in rows),
    )


def _ratio(amount: float, whole: float) -> float | None:
    """None where a ratio would say nothing: of nothing, or to nothing."""
    return amount / whole if amount and whole else None


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale

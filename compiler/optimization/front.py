"""Points that were measured, and those of them that no other is better than: the Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .candidate import Candidate

Any_ = TypeVar("Any_")
# Numbers of which less is better.
Costs = Callable[[Any_], Sequence[float]]


@dataclass(frozen=True)
class Point:
    """A candidate that was compiled and run.

    Attributes:
        candidate: what is done to the model.
        quality: by the metric, on samples that nothing was fitted on; more is better.
        error: of the outputs there, as a share of the float model's.
        seconds: of a run.
        bytes: of the library's file.
    """

    candidate: Candidate
    quality: float
    error: float
    seconds: float
    bytes: int

    @property
    def costs(self) -> tuple[float, float, float]:
        """What the front is of."""
        return -self.quality, self.seconds, float(self.bytes)

    @property
    def fine_costs(self) -> tuple[float, float, float]:
        """The same with the error in the place of the metric, which may be coarse."""
        return self.error, self.seconds, float(self.bytes)


def front_of(items: Iterable[Any_], costs: Costs[Any_]) -> list[Any_]:
    """The items that no other is as good as in everything and better in something; of equal ones the first."""
    found: list[tuple[tuple[float, ...], Any_]] = []
    for item in items:
        own = tuple(costs(item))
        if any(_covers(other, own) for other, _ in found):
            continue
        found = [(other, each) for other, each in found if not _covers(own, other)]
        found.append((own, item))
    return [item for _, item in found]


def _covers(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True))


def pareto_front(points: Iterable[Point]) -> list[Point]:
    """The front of quality, time and bytes, the fastest first."""
    front = front_of(sorted(points, key=lambda each: each.error), lambda point: point.costs)
    return sorted(front, key=lambda point: (point.seconds, point.bytes, -point.quality))

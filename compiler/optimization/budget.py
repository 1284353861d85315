"""Budgets: what a smaller network may lose or take, and which point of a front is the best within them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ...errors import UsageError
from .front import Point

_BEYOND = 1.25  # times that error
_HOPELESS = 1.5  # times that of a point which loses too much: predictions are not exact
_LEAST_ERROR = 0.02  # of which metrics hardly tell
_NUMBER = r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?"
_HINT = "write accuracy=-0.5 (points of the metric), latency=0.5x or size=0.25x (shares of the float model's)"


@dataclass(frozen=True)
class Budget:
    """Limits, those that are given.

    Attributes:
        accuracy: what the metric may change by at the least: -0.5 allows half a point less.
        latency, size: shares of the float library's time and bytes.
    """

    accuracy: float | None = None
    latency: float | None = None
    size: float | None = None

    def excess(self, point: Point, exact: Point) -> float:
        """By how much a point misses the limits; 0 where it is within all."""
        over = 0.0
        if self.accuracy is not None:
            lost = exact.quality - point.quality + self.accuracy
            over += max(0.0, lost) / max(1.0, abs(self.accuracy))
        for limit, share in ((self.latency, point.seconds / exact.seconds), (self.size, point.bytes / exact.bytes)):
            if limit is not None:
                over += max(0.0, math.log(share / limit))
        return over

    def reach(self, points: Sequence[Point], exact: Point) -> float:
        """The error up to which candidates are worth trying: that of points that lose little more than they may.

        Where no limit says what they may lose, that of the best point: others are to lose less.
        """
        if self.accuracy is None:
            return _BEYOND * max(self.best(points, exact).error, _LEAST_ERROR)
        losing = exact.quality + 2 * self.accuracy
        return _BEYOND * max([_LEAST_ERROR, *(point.error for point in points if point.quality >= losing)])

    def hopeless(self, points: Sequence[Point], exact: Point) -> float:
        """The error from which on candidates lose too much: a little more than that of a point that does.

        Infinite where no point does, and where no limit says what they may lose.
        """
        if self.accuracy is None:
            return math.inf
        losing = exact.quality + 2 * self.accuracy
        return _HOPELESS * min([math.inf, *(point.error for point in points if point.quality < losing)])

    def best(self, points: Sequence[Point], exact: Point) -> Point:
        """The best point within the limits, or the one that is nearest to them.

        With a limit for accuracy it is the fastest (or the smallest, where time is limited, and size is not), else the
        most accurate.
        """

        def cost(point: Point) -> tuple[float, ...]:
            takes = (point.seconds, point.bytes) if self.latency is None else (point.bytes, point.seconds)
            if self.size is not None and self.latency is not None:
                takes = (point.seconds, point.bytes)
            loses = (-point.quality, point.error)
            return (self.excess(point, exact), *(loses + takes if self.accuracy is None else takes + loses))

        return min(points, key=cost)


def parse_budgets(options: Iterable[str]) -> Budget:
    """``accuracy=-0.5``, ``latency=0.5x``, ``size=0.25x``, each once; several joined by commas, too.

    Raises:
        UsageError: an option is written otherwise, or none is given.
    """
    found: dict[str, float] = {}
    for option in (each for text in options for each in text.split(",")):
        name, _, value = option.partition("=")
        read = _READERS.get(name)
        limit = read(value) if read is not None else None
        if limit is None or name in found:
            raise UsageError(f"{option!r} is no budget of its own", where="--budget", hint=_HINT)
        found[name] = limit
    if not found:
        raise UsageError("nothing says what the network may lose or take", where="--budget", hint=_HINT)
    return Budget(**found)


def _loss(text: str) -> float | None:
    return float(text) if re.fullmatch(_NUMBER, text) and float(text) <= 0 else None


def _share(text: str) -> float | None:
    return float(text[:-1]) if re.fullmatch(_NUMBER + "x", text) and float(text[:-1]) > 0 else None


_READERS: Mapping[str, Callable[[str], float | None]] = MappingProxyType(
    {"accuracy": _loss, "latency": _share, "size": _share}
)

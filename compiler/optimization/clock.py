"""The time of a search: how much of it is left, and how whatever takes long ends when it is over."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..process.progress import ProgressCallback


class TimeIsUpError(Exception):
    """A limit has come; what was being done is as if it had not been begun, but for what it kept."""


class Clock:
    """Knows what is left of a limit.

    Args:
        spent: tells the seconds of all runs together.
        limit: how many there may be; None: any number.
    """

    def __init__(self, spent: Callable[[], float], limit: float | None) -> None:
        self._spent, self._limit = spent, limit

    def left(self, share: float = 1.0) -> float:
        """Seconds until this share of the time is over; infinitely many without a limit."""
        return math.inf if self._limit is None else share * self._limit - self._spent()

    def ending(self, tell: ProgressCallback, share: float = 1.0) -> ProgressCallback:
        """The same, but that it raises `TimeIsUpError` once this share of the time is over.

        All that takes long tells what it is at, many times a second, compiles included: so all of it ends in time.
        """

        def told(stage: str, done: int, total: int) -> None:
            if self.left(share) <= 0:
                raise TimeIsUpError
            tell(stage, done, total)

        return told

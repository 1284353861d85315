"""Budgets: how they are written, and which point of a front is the best within them."""

from __future__ import annotations

import pytest
from tilewright.compiler.optimization.budget import Budget, parse_budgets
from tilewright.compiler.optimization.candidate import Candidate
from tilewright.compiler.optimization.front import Point, front_of, pareto_front
from tilewright.errors import UsageError


def point(quality: float, seconds: float, size: int = 100, error: float = 0.0) -> Point:
    return Point(Candidate("b", ((f"{quality} {seconds} {size}", "int8"),)), quality, error, seconds, size)


FLOAT = point(98.0, 1.0)


def test_what_is_written() -> None:
    assert parse_budgets(["accuracy=-0.5"]) == Budget(accuracy=-0.5)
    assert parse_budgets(["latency=0.5x", "size=.25x".replace(".25", "0.25")]) == Budget(latency=0.5, size=0.25)
    assert parse_budgets(["accuracy=0,size=1e-1x"]) == Budget(accuracy=0.0, size=0.1)


@pytest.mark.parametrize(
    "options", [[], ["accuracy"], ["accuracy=0.5"], ["latency=0.5"], ["size=-1x"], ["speed=2x"], ["size=1x", "size=1x"]]
)
def test_what_is_no_budget(options: list[str]) -> None:
    with pytest.raises(UsageError) as raised:
        parse_budgets(options)

    assert "--budget" in str(raised.value)


def test_within_a_loss_the_fastest_is_the_best() -> None:
    points = [FLOAT, point(97.6, 0.5), point(97.0, 0.3), point(97.8, 0.7)]

    assert Budget(accuracy=-0.5).best(points, FLOAT) == points[1]
    assert Budget(accuracy=-1.0).best(points, FLOAT) == points[2]
    assert Budget(accuracy=0.0).best(points, FLOAT) == FLOAT


def test_within_a_time_or_size_the_most_accurate_is_the_best() -> None:
    points = [FLOAT, point(97.6, 0.5, 60), point(97.0, 0.3, 40), point(97.6, 0.45, 80, error=0.1)]

    assert Budget(latency=0.5).best(points, FLOAT) == points[1], "of equal ones that of the least error"
    assert Budget(size=0.5).best(points, FLOAT) == points[2]
    assert Budget(latency=0.5, size=0.7).best(points, FLOAT) == points[1]
    assert Budget(accuracy=-2, latency=0.6).best(points, FLOAT) == points[2], "the smallest, where time is limited"


def test_nothing_within_the_budget_is_the_nearest() -> None:
    points = [FLOAT, point(97.6, 0.5), point(97.0, 0.3)]
    best = Budget(latency=0.1).best(points, FLOAT)

    assert best == points[2] and Budget(latency=0.1).excess(best, FLOAT) > 0
    assert Budget(latency=0.1).excess(points[1], FLOAT) > Budget(latency=0.1).excess(best, FLOAT)


def test_the_front_is_what_nothing_else_is_better_than() -> None:
    points = [FLOAT, point(97.6, 0.5), point(97.5, 0.6), point(97.0, 0.6, 50), point(97.6, 0.5, error=0.2)]

    assert pareto_front(points) == [points[1], points[3], FLOAT], "the fastest first"
    assert front_of([(1, 2), (2, 1), (1, 2), (2, 2)], lambda each: each) == [(1, 2), (2, 1)]

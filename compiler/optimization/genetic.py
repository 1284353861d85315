"""The search near the front: candidates are bred of the best that were measured, as what layers do to each other asks.

A child is one of the front with a few layers treated otherwise, or layers of two of the same base. Those of many whose
prediction, corrected by how far off that of its parent was, no measured point is better than, are really tried.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from .candidate import Candidate
from .front import Point, front_of
from .solve import Predicted, Table

GENERATION = 8
_CHILDREN = 96  # that are bred for a generation
_CROSSED = 0.4  # of them have two parents
_MOST_CHANGES = 3  # of layers


@dataclass(frozen=True)
class _Child:
    """A candidate that nobody measured, and what is expected of it."""

    candidate: Candidate
    error: float
    seconds: float
    bytes: float

    @property
    def costs(self) -> tuple[float, float, float]:
        return self.error, self.seconds, self.bytes


def next_generation(
    table: Table, points: Sequence[Point], known: Collection[str], reach: float, seed: int, number: int
) -> list[Candidate]:
    """Candidates to try next; fewer than `GENERATION`, or none, where nothing promising is left.

    The same points and seed give the same, in any order of points.

    Args:
        points: all that were measured.
        known: keys of all candidates that were tried.
        reach: the error beyond which they are not worth it.
        number: of the generation.
    """
    chance = random.Random(f"{seed} {number}")
    parents = _parents([point for point in points if point.error <= reach])
    children: dict[str, _Child] = {}
    for _ in range(_CHILDREN):
        parent = chance.choice(parents)
        candidate = _bred(table, parent, parents, chance)
        if candidate.key not in known and candidate.key not in children:
            children[candidate.key] = _expected(table, parent, candidate)
    measured = [point.fine_costs for point in points]
    promising = [
        child
        for child in children.values()
        if child.error <= reach
        and not any(all(a <= b for a, b in zip(costs, child.costs, strict=True)) for costs in measured)
    ]
    best = front_of(promising, lambda child: child.costs)
    rest = [child for child in promising if child not in best]
    chance.shuffle(best)
    return [child.candidate for child in (*best, *rest)[:GENERATION]]


def _parents(points: Sequence[Point]) -> list[Point]:
    """The front by the metric, and that by errors, in an order of their own."""
    front = {
        point.candidate.key: point
        for costs in (lambda point: point.costs, lambda point: point.fine_costs)
        for point in front_of(sorted(points, key=lambda each: each.error), costs)
    }
    return [front[key] for key in sorted(front)]


def _bred(table: Table, parent: Point, parents: Sequence[Point], chance: random.Random) -> Candidate:
    candidate, options = parent.candidate, table.useful(parent.candidate.base)
    partners = [each for each in parents if each.candidate.base == candidate.base and each is not parent]
    if partners and chance.random() < _CROSSED:
        other = chance.choice(partners).candidate
        candidate = candidate.treating(
            {layer: other.of.get(layer, "float") for layer in options if chance.random() < 0.5}, table.order
        )
    layers = sorted(layer for layer, rows in options.items() if len(rows) > 1)
    count = min(len(layers), chance.randint(1, _MOST_CHANGES))
    changes = {layer: chance.choice(options[layer]).treatment for layer in chance.sample(layers, count)}
    return candidate.treating(changes, table.order)


def _expected(table: Table, parent: Point, candidate: Candidate) -> _Child:
    """The prediction, by how much that of the parent was wrong."""
    before, after = table.predicted(parent.candidate), table.predicted(candidate)
    errors = (before.error + _TINY) / (parent.error**2 + _TINY)
    return _Child(
        candidate,
        max(after.error, 0.0) ** 0.5 / errors**0.5,
        _scaled(parent.seconds, before, after),
        max(1.0, parent.bytes + after.bytes - before.bytes),
    )


_TINY = 1e-9  # an error squared that nobody sees


def _scaled(seconds: float, before: Predicted, after: Predicted) -> float:
    return seconds * max(after.seconds, 0.05 * before.seconds) / before.seconds

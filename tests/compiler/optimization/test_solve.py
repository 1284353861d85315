"""The exact solve against all combinations, and candidates that are bred."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from tilewright.compiler.optimization.candidate import Candidate, candidate_of
from tilewright.compiler.optimization.database import Database, Row, Surveyed
from tilewright.compiler.optimization.front import Point
from tilewright.compiler.optimization.genetic import GENERATION, next_generation
from tilewright.compiler.optimization.solve import LIMITS, Table

LAYERS, OPTIONS = ("a", "b", "c", "d"), ("float", "int8", "rank", "zeros")


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Four layers with four options each, of two bases; one option is worse than another in everything."""
    database = Database(tmp_path / "net.search", "model", "key")
    chance = np.random.default_rng(3)
    for base, lost in (("whole", 0.0), ("half", 1e-4)):
        rows = []
        for layer, option in itertools.product(LAYERS, OPTIONS):
            floats = option == "float"
            error = 0.0 if floats else 10 ** chance.uniform(-5, -2)
            rows.append(Row(base, option, layer, error, 1.0 if floats else chance.uniform(0.2, 1.1), 100))
        rows.append(Row(base, "silly", "a", 0.5, 2.0, 200))
        database.add([*rows, Surveyed(base, "float", lost, 5.0 if base == "whole" else 3.0, 500)])
    return Table(database, LAYERS)


def all_of(table: Table, base: str) -> list[tuple[float, float]]:
    """Error and seconds of every combination."""
    found = []
    for options in itertools.product(OPTIONS, repeat=len(LAYERS)):
        made = table.predicted(Candidate(base).treating(dict(zip(LAYERS, options, strict=True)), LAYERS))
        found.append((made.error, made.seconds))
    return found


def test_the_solver_finds_the_best_of_all_combinations(table: Table) -> None:
    solved = table.solved()

    for limit in LIMITS:
        best = min((seconds for base in ("whole", "half") for error, seconds in all_of(table, base)
                    if error <= limit**2), default=None)  # fmt: skip
        ours = min((each.seconds for each in solved if each.error <= limit**2 * (1 + 1e-6)), default=None)
        assert ours == pytest.approx(best, rel=1e-5), limit
    assert [each.error for each in solved] == sorted(each.error for each in solved)
    assert solved[0].candidate == Candidate(), "the float model loses least"


def test_what_is_worse_in_everything_is_left_out(table: Table) -> None:
    assert "silly" not in {row.treatment for row in table.useful("whole")["a"]}
    assert {row.treatment for row in table.useful("whole")["a"]} >= {"float"}


def test_candidates_are_known_by_their_keys() -> None:
    candidate = Candidate("half").treating({"c": "int8", "a": "rank", "b": "float"}, LAYERS)

    assert candidate.treated == (("a", "rank"), ("c", "int8")), "in the model's order"
    assert candidate_of(candidate.key) == candidate
    assert candidate.treating({"a": "float", "c": "float"}, LAYERS) == Candidate("half")
    assert Candidate().is_exact and not Candidate("half").is_exact and not candidate.is_exact


def test_children_are_new_promising_and_the_same_again(table: Table) -> None:
    points = [
        Point(each.candidate, 100 - 100 * each.error, each.error**0.5, each.seconds, 500) for each in table.solved()
    ]
    known = {point.candidate.key for point in points}

    first = next_generation(table, points, known, reach=0.5, seed=1, number=1)

    assert 0 < len(first) <= GENERATION
    assert not {child.key for child in first} & known
    assert next_generation(table, points[::-1], known, reach=0.5, seed=1, number=1) == first
    assert next_generation(table, points, known, reach=0.5, seed=2, number=1) != first
    near = next_generation(table, points, known, 0.05, 1, 1)
    assert near and all(table.predicted(child).error ** 0.5 < 0.06 for child in near)
    for child in first:  # no measured point is expected to be better
        made = table.predicted(child)
        assert not any(p.error**2 < made.error * 0.99 and p.seconds < made.seconds * 0.99 for p in points)

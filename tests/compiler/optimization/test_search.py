"""The search over a database that is there: the same again after a kill, and with several who try networks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from small_models import model, node
from tilewright import frontends
from tilewright.compiler.evaluation.metrics import Metric
from tilewright.compiler.optimization.attempt import Outcome, Study
from tilewright.compiler.optimization.budget import Budget
from tilewright.compiler.optimization.clock import TimeIsUpError
from tilewright.compiler.optimization.data import Data
from tilewright.compiler.optimization.database import Database, Row, Surveyed
from tilewright.compiler.optimization.optimize import _key, optimize
from tilewright.compiler.optimization.request import UNIFORM, Optimized, Request
from tilewright.compiler.optimization.treatments import TREATMENTS
from tilewright.compiler.options import CompileOptions
from tilewright.compiler.recipes.identity import identity_of
from tilewright.compiler.recipes.recipe import RankEntry, Recipe

LAYERS = tuple("abcdef")
KINDS = ("int8", "rank")
NAMES = [each.name for each in TREATMENTS if each.kind in KINDS]
SAMPLE = {"x": np.ones((1, 4), np.float32)}
DATA = Data((SAMPLE,), (SAMPLE,), None, "digest")
METRIC = Metric("closeness", "", lambda outputs, labels, exact: -100 * float(np.abs(outputs["y"] - exact["y"]).max()))


def network() -> onnx.ModelProto:
    names = ("x", *LAYERS)
    nodes = [node("MatMul", [names[at], f"w{layer}"], layer, layer) for at, layer in enumerate(LAYERS)]
    weights = {f"w{layer}": np.eye(4, dtype=np.float32) for layer in LAYERS}
    return model(nodes, {"x": ("float32", (1, 4))}, {"f": ("float32", (1, 4))}, weights)


OPENED = frontends.open(network())


def numbers(layer: str, treatment: str) -> tuple[float, float]:
    """A square of an error, and a share of the time, that are the same for the same treatment of a layer."""
    chance = np.random.default_rng([*hashlib.sha256(f"{layer} {treatment}".encode()).digest()])
    return float(10 ** chance.uniform(-5, -2)), float(chance.uniform(0.2, 0.9))


def filled(folder: Path, asked: Request) -> None:
    """A database of all treatments of the whole model; a rank says which treatment a layer got."""
    with closing(Database(folder, identity_of(OPENED).sha256, _key(DATA, asked))) as database:
        database.add([*(Row("whole", "float", layer, 0.0, 1.0, 100) for layer in LAYERS)])
        database.add([Surveyed("whole", "float", 0.0, 6.0, 600)])
        for rank, name in enumerate(NAMES, 1):
            database.keep(f"whole {name}", Recipe(layers={layer: {"rank": RankEntry(rank)} for layer in LAYERS}))
            rows = [Row("whole", name, layer, *numbers(layer, name), 50) for layer in LAYERS]
            database.add([*rows, Surveyed("whole", name)])


@dataclass
class Crew:
    """Tries nothing: what layers lose and take adds up, and neighbours that are treated alike take a little less."""

    width: int = 1
    most: float = inf
    tried: list[str] = field(default_factory=list)

    def outcomes(self, recipes: Sequence[Recipe | None], seconds: float = inf) -> Iterator[tuple[int, Outcome]]:
        for place in reversed(range(len(recipes))):
            if len(self.tried) >= self.most:
                raise KeyboardInterrupt
            recipe = recipes[place]
            ranks = {} if recipe is None else {name: each.rank for name, each in recipe.entries(RankEntry).items()}
            if recipe is not None:
                self.tried.append(str(sorted(ranks.items())))
            given = [numbers(layer, NAMES[ranks[layer] - 1]) if layer in ranks else (0.0, 1.0) for layer in LAYERS]
            alike = sum(ranks.get(one) == ranks.get(other) for one, other in pairwise(LAYERS))
            error, time = (sum(each) for each in zip(*given, strict=True))
            outputs = {"y": np.ones(16) * (1 + error**0.5 * (1 - 0.05 * alike))}
            yield place, Outcome(outputs, (time - 0.02 * alike) / 6, 1e-3, 600 - 50 * len(ranks))


def searched(folder: Path, crew: Crew, budget: Budget, **more: Any) -> Optimized:
    @contextmanager
    def make(study: Study) -> Iterator[Crew]:
        yield crew

    asked = Request(budget, METRIC, CompileOptions(threads=1), KINDS, crew=make, **more)
    if not (folder / "database.jsonl").exists():
        filled(folder, asked)
    return optimize(OPENED, DATA, asked, folder / "best.json", folder, lambda stage, done, total: None)


def seen(found: Optimized) -> list[tuple[str, float, float]]:
    return [(point.candidate.key, point.quality, point.seconds) for point in found.front]


@pytest.mark.parametrize("budget", [Budget(accuracy=-3.0), Budget(latency=0.5)])
def test_a_search_that_was_killed_finds_the_same(budget: Budget, tmp_path: Path) -> None:
    whole = Crew()
    found = searched(tmp_path / "whole", whole, budget)
    assert len(whole.tried) > 20 and len(set(whole.tried)) == len(whole.tried)

    tried = []
    while True:
        crew = Crew(most=7)
        try:
            again = searched(tmp_path / "killed", crew, budget)
            break
        except KeyboardInterrupt:
            assert (tmp_path / "killed" / "best.json").exists(), "the best so far"
        finally:
            tried += crew.tried
    assert tried == whole.tried, "in the same order, none twice"
    assert again.points == found.points and again.best == found.best

    assert searched(tmp_path / "whole", Crew(most=0), budget).points == found.points, "nothing is tried again"
    other = searched(tmp_path / "other", Crew(), budget, seed=1)
    assert [point.candidate for point in other.points] != [point.candidate for point in found.points]


@pytest.mark.parametrize("budget", [Budget(accuracy=-3.0), Budget(latency=0.5)])
def test_several_who_try_networks_find_the_same(budget: Budget, tmp_path: Path) -> None:
    """However many they are, and though some come or go while others are tried."""

    class Changing(Crew):
        @property
        def width(self) -> int:
            return 1 + len(self.tried) % 3

        @width.setter
        def width(self, value: int) -> None:
            pass

    one = searched(tmp_path / "one", Crew(), budget)
    others = [searched(tmp_path / "four", Crew(width=4), budget), searched(tmp_path / "changing", Changing(), budget)]

    for each in others:
        assert seen(each) == seen(one)
        assert {point.candidate for point in each.points} == {point.candidate for point in one.points}


def test_the_front_is_better_than_the_same_for_all_layers(tmp_path: Path) -> None:
    found = searched(tmp_path / "s", Crew(), Budget(accuracy=-3.0))
    uniform = [each for each in found.points if found.origins[each.candidate.key] == UNIFORM]

    assert len(uniform) >= 3
    for point in uniform:
        better = [each for each in found.front if each.quality >= point.quality and each.seconds <= point.seconds]
        assert better, "the front covers it"
    lost = sorted(point.quality for point in uniform)[len(uniform) // 2]
    fastest = [min(p.seconds for p in points if p.quality >= lost) for points in (found.front, uniform)]
    assert fastest[0] < fastest[1]


def test_time_that_is_over_leaves_what_was_found(tmp_path: Path) -> None:
    class Slow(Crew):
        def outcomes(self, recipes: Sequence[Recipe | None], seconds: float = inf) -> Iterator[tuple[int, Outcome]]:
            if len(self.tried) == 5:
                raise TimeIsUpError
            yield from super().outcomes(recipes, seconds)

    found = searched(tmp_path / "s", Slow(), Budget(accuracy=-3.0), seconds=1000.0)

    assert len(found.points) == 6 and found.best in found.points

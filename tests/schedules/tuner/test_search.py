"""The search finds good choices in few measurements, of times that follow a law it does not know."""

from __future__ import annotations

import math
import random

import pytest
from tilewright import targets
from tilewright.schedules.templates.contraction import Workload
from tilewright.schedules.templates.table import CONTRACTION
from tilewright.schedules.tuner.cost_model import CostModel, rank_correlation
from tilewright.schedules.tuner.search import Candidate, Search, Task, make_task

TARGET = targets.parse("x86_64-linux-gnu", cpu="x86-64-v3", cores=1)
WORKLOADS = [Workload(1, 49, 96, (160,)), Workload(1, 196, 24, (3, 3, 40)), Workload(1, 784, 130, (64,))]


def law(candidate: Candidate) -> float:
    """Times as of a machine that is unlike the estimate: it likes 3 vectors and 3 rows, and short blocks a little."""
    choice = candidate.decision.choice
    return 0.7 + 0.1 * abs(choice.vectors - 3) + 0.08 * abs(choice.rows - 3) + 0.01 * math.log2(choice.row_tiles)


def searched(workload: Workload, measurements: int, seed: int = 0) -> tuple[Task, list[float]]:
    """A search with the law as the machine; the best ratio after each batch of three."""
    task = make_task([CONTRACTION], workload, TARGET, random.Random(seed))
    search = Search(CostModel(), seed)
    curve: list[float] = []
    for _ in range(measurements // 3):
        batch = search.proposals(task, 3)
        search.learn([(task, each, law(each)) for each in batch])
        curve.append(min(each.ratio for each in task.candidates if each.ratio is not None))
    return task, curve


@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
def test_it_comes_close_to_the_best_in_24_measurements(workload: Workload) -> None:
    task, curve = searched(workload, 24)
    assert curve[-1] <= 1.1 * min(map(law, task.candidates))


def test_it_beats_random_search() -> None:
    def random_search(workload: Workload, seed: int) -> float:
        task = make_task([CONTRACTION], workload, TARGET, random.Random(seed))
        return min(map(law, random.Random(seed).sample(task.candidates, 24)))

    ours = math.prod(searched(workload, 24, seed)[1][-1] for workload in WORKLOADS for seed in range(2))
    theirs = math.prod(random_search(workload, seed) for workload in WORKLOADS for seed in range(2))
    assert ours < theirs


def test_nothing_is_measured_twice_and_a_task_ends() -> None:
    task = make_task([CONTRACTION], Workload(1, 3, 8, (16,)), TARGET, random.Random(0))
    search = Search(CostModel())
    seen: list[int] = []
    while not task.is_done:
        (candidate,) = search.proposals(task)
        seen.append(id(candidate))
        search.learn([(task, candidate, 1.5)])
    assert len(seen) == len(set(seen)) == task.tried <= len(task.candidates)


def test_what_failed_is_never_the_best() -> None:
    task = make_task([CONTRACTION], WORKLOADS[0], TARGET, random.Random(0))
    task.learn(task.candidates[0], math.inf)
    task.learn(task.candidates[1], 1.0)
    assert task.best is None
    task.learn(task.candidates[2], 0.9)
    assert task.best is task.candidates[2]


def test_a_winner_that_loses_when_measured_again_is_none() -> None:
    task = make_task([CONTRACTION], WORKLOADS[0], TARGET, random.Random(0))
    for number, ratio in ((0, 0.5), (1, 0.8), (0, 0.99)):
        task.learn(task.candidates[number], ratio)
    assert task.best is task.candidates[1] and task.tried == 2


def test_the_model_learns_an_order_and_keeps_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    task, _ = searched(WORKLOADS[0], 40)
    search = Search(model := CostModel())
    search.learn([(task, each, law(each)) for each in task.candidates[::3]])
    rest = [each for each in task.candidates if each not in task.candidates[::3]]

    def order(of: CostModel) -> float:
        scores = of.scores([each.features for each in rest])
        return rank_correlation([float(score) for score in scores], [law(each) for each in rest])

    assert order(model) > 0.8
    path = tmp_path_factory.mktemp("model") / "trees.json"
    model.save(path)
    assert order(CostModel(path)) == pytest.approx(order(model))

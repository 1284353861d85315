"""A cluster of Dask: what a worker that dies was trying is tried by another; addresses where there is none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tilewright
from small_models import model, node
from tilewright.compiler.optimization import cluster
from tilewright.compiler.optimization.attempt import Outcome, Study
from tilewright.compiler.optimization.clock import TimeIsUpError
from tilewright.compiler.options import CompileOptions
from tilewright.errors import ToolError, UsageError


def study_of(key: str) -> Study:
    return Study(key, b"", CompileOptions(), ({"x": np.zeros(1, np.float32)},), 0.1)


def dying_once() -> Callable[[Study, Any], Outcome]:
    """An attempt whose first process dies."""

    def attempt(study: Study, recipe: Any) -> Outcome:
        import os
        from pathlib import Path

        if not Path(study.key).exists():
            Path(study.key).touch()
            os._exit(1)
        return Outcome({}, ratio=0.5)

    attempt.__module__ = "__main__"  # so that it travels whole: workers cannot import tests
    return attempt


@pytest.mark.slow
def test_nothing_is_lost_with_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "attempt", dying_once())
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers:
        address = workers.scheduler_address.replace("tcp://", cluster.SCHEME)
        with cluster.cluster_crew(study_of(str(tmp_path / "died")), address) as crew:
            assert crew.width == 2
            outcomes = dict(crew.outcomes([None] * 4, 600.0))
            with pytest.raises(TimeIsUpError):
                dict(crew.outcomes([None], 0.0))

    assert (tmp_path / "died").exists()
    assert outcomes == dict.fromkeys(range(4), Outcome({}, ratio=0.5))


SIZE = 64


def network() -> Any:
    """Three products, the first two of a low rank."""
    chance = np.random.default_rng(7)
    thin = [chance.standard_normal((SIZE, 6)) @ chance.standard_normal((6, SIZE)) / 20 for _ in range(2)]
    weights = {"w0": thin[0], "w1": thin[1], "w2": chance.standard_normal((SIZE, 4)) / 8}
    return model(
        [
            node("MatMul", ["x", "w0"], "a", "first"),
            node("Relu", ["a"], "b", "relu"),
            node("MatMul", ["b", "w1"], "c", "second"),
            node("MatMul", ["c", "w2"], "y", "head"),
        ],
        {"x": ("float32", (SIZE, SIZE))},
        {"y": ("float32", (SIZE, 4))},
        {name: each.astype("f4") for name, each in weights.items()},
    )


def timed_by_bytes(folder: str) -> Callable[[Study, Any], Outcome]:
    """A real attempt, but for its time, which its bytes decide: so fronts compare. Who tries one leaves a file."""

    def attempt(study: Study, recipe: Any) -> Outcome:
        import os
        import time
        from dataclasses import replace
        from pathlib import Path

        from tilewright.compiler.optimization.attempt import attempt as really

        (Path(folder) / f"{time.time_ns()}.{os.getpid()}").touch()
        outcome = really(study, recipe)
        return replace(outcome, ratio=outcome.bytes / 50e3, seconds=1e-3)

    attempt.__module__ = "__main__"
    return attempt


@contextmanager
def killed_at(number: int, tried: Path) -> Iterator[None]:
    """Kills the worker that begins the attempt of a number."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.01):
            names = sorted(each.name for each in tried.iterdir())
            if len(names) >= number:
                os.kill(int(names[number - 1].partition(".")[2]), signal.SIGKILL)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.slow
def test_a_search_whose_worker_is_killed_finds_the_same_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the command, on two workers of which one is killed while it compiles; against one that nobody disturbs."""
    distributed = pytest.importorskip("distributed")
    samples = np.random.default_rng(0).standard_normal((12, SIZE, SIZE)).astype("f4")
    tried, killed = tmp_path / "tried", tmp_path / "tried and killed"
    for folder in (tried, killed):
        folder.mkdir()

    def found(search: Path, address: str) -> Any:
        return tilewright.optimize(
            network(),
            samples,
            budget="accuracy=-2",
            metric="cosine",
            kinds=["rank", "int8"],
            search=search,
            options=CompileOptions(threads=1),
            cluster=address,
        )

    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as workers:
        address = workers.scheduler_address.replace("tcp://", cluster.SCHEME)
        monkeypatch.setattr(cluster, "attempt", timed_by_bytes(str(tried)))
        undisturbed = found(tmp_path / "undisturbed", address)
        # The same database, in which no network was measured: its times are not measured twice alike.
        shutil.copytree(tmp_path / "undisturbed", tmp_path / "disturbed")
        lines = tmp_path / "disturbed" / "database.jsonl"
        rows = [line for line in lines.read_text().splitlines(keepends=True) if json.loads(line)["kind"] != "measured"]
        lines.write_text("".join(rows))
        monkeypatch.setattr(cluster, "attempt", timed_by_bytes(str(killed)))
        with killed_at(4, killed):
            disturbed = found(tmp_path / "disturbed", address)

    assert len(undisturbed.front) > 1 and len(undisturbed.points) > 5
    assert disturbed.front == undisturbed.front and disturbed.best == undisturbed.best
    assert {point.candidate for point in disturbed.points} == {point.candidate for point in undisturbed.points}
    assert len([*killed.iterdir()]) > len([*tried.iterdir()]), "what was being tried is tried again"


def test_where_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("localhost:8786", "dask://localhost", "tcp://localhost:8786"):
        with pytest.raises(UsageError, match="no address of a cluster"), cluster.cluster_crew(study_of("k"), address):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"tilewright\[cluster\]"), cluster.cluster_crew(study_of("k"), "dask://h:1"):
        pass


def test_no_more_is_waited_for_a_cluster_than_a_search_may_take() -> None:
    pytest.importorskip("distributed")
    since = time.monotonic()
    with pytest.raises(ToolError, match="no scheduler"), cluster.cluster_crew(study_of("k"), "dask://127.0.0.1:1", 0.5):
        pass
    assert time.monotonic() - since < cluster._SECONDS / 2

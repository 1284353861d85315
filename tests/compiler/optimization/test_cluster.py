"""A cluster of Dask: what a worker that dies was trying is tried by another; addresses where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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


def test_where_there_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("localhost:8786", "dask://localhost", "tcp://localhost:8786"):
        with pytest.raises(UsageError, match="no address of a cluster"), cluster.cluster_crew(study_of("k"), address):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ToolError, match=r"tilewright\[cluster\]"), cluster.cluster_crew(study_of("k"), "dask://h:1"):
        pass

"""This process as a runner: outputs, seconds of as many runs as asked, and what is wrong with inputs."""

from __future__ import annotations

import numpy as np
import pytest
import tilewright
from small_models import swish_network
from tilewright.compiler.inputs.random_inputs import random_inputs
from tilewright.compiler.library.library_file import opened
from tilewright.compiler.runners.local import LocalRunner, time_runs
from tilewright.errors import TensorError


@pytest.fixture(scope="module")
def swish() -> tilewright.CompiledModel:
    return tilewright.compile(swish_network(), threads=1)


def test_a_library_runs_loaded_or_as_a_file(swish: tilewright.CompiledModel) -> None:
    values = random_inputs(swish.inputs, 0)
    with opened(swish.path) as (file, *_):
        found = LocalRunner().run(file, values)

    assert found.keys() == {"y"}
    np.testing.assert_array_equal(found["y"], LocalRunner().run(swish, values)["y"])


def test_each_run_is_timed(swish: tilewright.CompiledModel) -> None:
    runner, values = LocalRunner(), random_inputs(swish.inputs, 0)

    assert len(runner.time(swish, values, runs=7)) == 7
    times = runner.time(swish, values, seconds=0.01)
    assert len(times) > 1 and all(seconds > 0 for seconds in times) and sum(times) < 0.1
    with pytest.raises(TensorError):
        runner.time(swish, {"x": np.zeros((1, 1), np.float32)})


def test_time_passes_until_both_bounds_are_reached() -> None:
    calls: list[int] = []

    assert len(time_runs(lambda: calls.append(1), 3)) == len(calls) == 3
    assert len(time_runs(lambda: calls.append(1), 1, 0.002)) > 3

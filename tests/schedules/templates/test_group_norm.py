"""The group norm template: any groups, any sizes, both orders of channels, and numbers far from zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_runner import Runner, random, relative_error
from tilewright import targets
from tvm import relax

# (batch, *space, channels) and groups.
SIZES = [
    ((1, 9, 7, 48), 8),
    ((2, 5, 5, 24), 3),
    ((3, 1, 1, 80), 80),
    ((1, 37, 3), 1),
    ((1, 37, 3), 3),
    ((2, 130, 600), 4),
    ((1, 3, 5, 7, 240), 30),
    ((8, 4, 4, 20), 5),
]
# The input is rounded to 1 in 2**24 of its magnitude, which is 100 times the deviation.
TOLERANCE = 2e-5


def expected(data: Any, groups: int, gamma: Any, beta: Any) -> Any:
    """In float64, channels last."""
    rows = data.astype("float64").reshape(data.shape[0], -1, groups, data.shape[-1] // groups)
    mean, variance = (f(rows, axis=(1, 3), keepdims=True) for f in (np.mean, np.var))
    return ((rows - mean) / np.sqrt(variance + 1e-5)).reshape(data.shape) * gamma + beta


def normalise(run: Runner, data: Any, groups: int, gamma: Any, beta: Any, **options: Any) -> Any:
    rank = data.ndim
    constants = [relax.const(array.astype(data.dtype)) for array in (gamma, beta)]
    axes = list(range(1, rank - 1))
    return run(
        lambda x: relax.op.nn.relu(relax.op.nn.group_norm(x, *constants, groups, rank - 1, axes)), data, **options
    )


@pytest.mark.sweep(3)
@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize(("shape", "groups"), SIZES)
def test_channels_last(run: Runner, shape: tuple[int, ...], groups: int, cores: int) -> None:
    data = random(*shape) + 100
    gamma, beta = random(shape[-1], seed=1), random(shape[-1], seed=2)
    actual = normalise(run, data, groups, gamma, beta, target=targets.parse("host", cores=cores))
    assert relative_error(actual, np.maximum(expected(data, groups, gamma, beta), 0)) < TOLERANCE
    assert run.templates == ["group_norm"]


@pytest.mark.parametrize(("shape", "groups"), SIZES[:4])
def test_channels_first(run: Runner, shape: tuple[int, ...], groups: int) -> None:
    data = random(*shape) + 100
    gamma, beta = random(shape[-1], seed=1), random(shape[-1], seed=2)
    constants = [relax.const(array) for array in (gamma, beta)]
    axes = list(range(2, data.ndim))
    actual = run(lambda x: relax.op.nn.group_norm(x, *constants, groups, 1, axes), np.moveaxis(data, -1, 1))
    assert relative_error(np.moveaxis(actual, 1, -1), expected(data, groups, gamma, beta)) < TOLERANCE
    assert "rows" in run.templates


def test_blocks_of_other_means_are_joined(run: Runner) -> None:
    """Every block of pixels lies elsewhere, so that the squares are mostly those of the distances of the means."""
    data = random(1, 300, 32) + np.repeat(np.arange(10, dtype="float32") * 50, 30)[None, :, None]
    gamma, beta = np.ones(32, "float32"), np.zeros(32, "float32")
    actual = normalise(run, data, 4, gamma, beta)
    assert relative_error(actual, np.maximum(expected(data, 4, gamma, beta), 0)) < 2e-6


def test_halves_are_summed_in_single_precision(run: Runner) -> None:
    data = (random(1, 40, 40, 24) * 30 + 200).astype("float16")
    gamma, beta = random(24, seed=1).astype("float16"), random(24, seed=2).astype("float16")
    actual = normalise(run, data, 3, gamma, beta)
    assert actual.dtype == np.float16
    assert relative_error(actual.astype("f4"), np.maximum(expected(data, 3, gamma, beta), 0)) < 2**-10


def test_a_group_with_nan_is_nan_alone(run: Runner) -> None:
    data = random(2, 6, 6, 8)
    data[1, 2, 3, 5] = np.nan
    actual = normalise(run, data, 2, np.ones(8, "float32"), np.ones(8, "float32"))
    assert np.isnan(actual[1, :, :, 4:]).all() and np.isnan(actual).sum() == 6 * 6 * 4

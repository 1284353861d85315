"""Interpolation by tables: any axes, any number of taps, what follows fused; against numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_runner import TOLERANCE, Runner, random, relative_error
from tilewright import targets
from tilewright.ir_passes.dialect.interpolation import interpolate
from tvm import relax

Table = tuple[Any, Any]


def table(extent: int, size: int, taps: int) -> Table:
    generator = np.random.default_rng(extent)
    return generator.integers(0, extent, (size, taps)), generator.standard_normal((size, taps)).astype("float32")


def expected(x: Any, tables: list[Table], axes: list[int]) -> Any:
    x = x.astype("float64")
    for (positions, weights), axis in zip(tables, axes, strict=True):
        shape = [-1 if each == axis else 1 for each in range(x.ndim)]
        x = sum(x.take(positions[:, tap], axis) * weights[:, tap].reshape(shape) for tap in range(weights.shape[1]))
    return x


CASES: list[tuple[tuple[int, ...], list[int], list[int], int]] = [
    ((1, 9, 11, 80), [2, 1], [18, 23], 2),  # both axes at once
    ((2, 6, 5, 24), [2, 1], [7, 13], 4),  # one after the other
    ((1, 21, 13, 9), [3, 2], [40, 33], 2),  # the last axis among them
    ((3, 7, 50), [2], [20], 6),
    ((2, 5), [1], [8], 2),  # too few rows to transpose
    ((5, 8, 6, 3), [2], [12], 2),  # rows shorter than a vector
    ((1, 4, 5, 6, 16), [3, 2, 1], [9, 8, 7], 2),
    ((2, 40, 17), [1], [3], 15),  # more taps than are written out
]


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("shape", "axes", "sizes", "taps"), CASES)
@pytest.mark.parametrize("cores", [1, 5])
def test_axes_and_taps(
    run: Runner, shape: tuple[int, ...], axes: list[int], sizes: list[int], taps: int, cores: int
) -> None:
    x = random(*shape)
    tables = [table(shape[axis], size, taps) for axis, size in zip(axes, sizes, strict=True)]
    constants = [tuple(relax.const(each) for each in pair) for pair in tables]
    actual = run(lambda x: interpolate(x, constants, axes), x, target=targets.parse("host", cores=cores))
    assert relative_error(actual, expected(x, tables, axes)) < TOLERANCE


def test_two_axes_and_what_follows_are_one_kernel(run: Runner) -> None:
    x, y = random(1, 9, 11, 80), random(1, 20, 23, 80, seed=1)
    tables = [table(11, 23, 2), table(9, 20, 2)]
    constants = [tuple(relax.const(each) for each in pair) for pair in tables]
    actual = run(lambda x, y: relax.op.nn.relu(relax.op.add(interpolate(x, constants, [2, 1]), y)), x, y)
    assert relative_error(actual, np.maximum(expected(x, tables, [2, 1]) + y, 0)) < TOLERANCE
    assert run.templates == ["interpolation"]


def test_the_last_axis_is_transposed_on_the_way(run: Runner) -> None:
    x = random(2, 24, 30)
    tables = [table(30, 45, 2)]
    constants = [tuple(relax.const(each) for each in pair) for pair in tables]
    actual = run(lambda x: interpolate(x, constants, [2]), x)
    assert relative_error(actual, expected(x, tables, [2])) < TOLERANCE
    assert run.templates == ["transposition", "transposition"]

"""Kernels that turn rows into columns: every dtype, fused with what stands around, odd sizes; against numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from kernel_runner import Runner, random
from tilewright import targets
from tilewright.compiler.lowering.squares import network
from tvm import relax


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((1, 24, 56, 56), (0, 2, 3, 1)),
        ((2, 7, 7, 80), (0, 3, 1, 2)),
        ((6, 5, 48, 9), (3, 1, 2, 0)),
        ((8, 240, 1, 31), (1, 3, 0, 2)),
        ((1, 600, 6, 4), (2, 3, 0, 1)),
    ],
)
def test_axes_change_places(run: Runner, shape: tuple[int, ...], axes: tuple[int, ...]) -> None:
    x = random(*shape)
    assert np.array_equal(run(lambda x: relax.op.permute_dims(x, axes), x), x.transpose(axes))
    assert run.templates == ["transposition"]


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint16", "int32", "int64", "bool"])
def test_elements_of_every_dtype(run: Runner, dtype: str) -> None:
    x = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (2, 53, 39)).astype(dtype)
    actual = run(transposed, x)
    assert actual.dtype == x.dtype and np.array_equal(actual, x.transpose(0, 2, 1))


@pytest.mark.parametrize("level", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_vectors_of_every_length(run: Runner, level: str) -> None:
    target = targets.parse("x86_64-unknown-linux-gnu", cpu=level)
    if not set(target.required_features) <= set(targets.parse("host").required_features):
        pytest.skip(f"this machine is no {level}")
    x = random(2, 53, 39)
    assert np.array_equal(run(transposed, x, target=target), x.transpose(0, 2, 1))
    assert run.templates == ["transposition"]


def transposed(x: Any) -> Any:
    return relax.op.permute_dims(x, (0, 2, 1))


x, y, column = random(2, 37, 52), random(2, 41, 52, seed=1), random(37, 1, seed=2)
other = random(2, 52, 37, seed=3)
FUSED: list[tuple[Callable[..., Any], tuple[Any, ...], Any, str]] = [
    (lambda x, y: transposed(relax.op.concat([x, y], 1)), (x, y), np.concatenate([x, y], 1), "transposition"),
    (
        lambda x, y: relax.op.nn.relu(transposed(relax.op.add(x, y))),
        (x, column),
        np.maximum(x + column, 0),
        "transposition",
    ),
    (lambda x: transposed(relax.op.astype(x, "float16")), (x,), x.astype("float16"), "transposition"),
    (lambda x: transposed(relax.op.astype(x, "float64")), (x,), x.astype("float64"), "transposition"),
    (lambda x, y: relax.op.add(transposed(x), y), (x, other), x + other.transpose(0, 2, 1), "plain"),
    (lambda x: transposed(relax.op.strided_slice(x, [1], [1], [36])), (x,), x[:, 1:36], "transposition"),
]


@pytest.mark.parametrize("number", range(len(FUSED)))
def test_what_stands_around_is_fused(run: Runner, number: int) -> None:
    build, inputs, expected, template = FUSED[number]
    assert np.array_equal(run(build, *inputs), expected.transpose(0, 2, 1))
    assert run.templates == [template]


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_many_cores_share_it(run: Runner, threads: int) -> None:
    x = random(2, 96, 1234)
    target = targets.parse("host", cores=threads)
    assert np.array_equal(run(transposed, x, target=target), x.transpose(0, 2, 1))


@pytest.mark.parametrize(("lanes", "bits"), [(4, 8), (4, 32), (4, 64), (8, 32), (8, 64), (16, 8), (16, 16), (16, 32)])
def test_a_network_of_shuffles_transposes(lanes: int, bits: int) -> None:
    vectors = [[(line, lane) for lane in range(lanes)] for line in range(lanes)]
    for stage in network(lanes, bits):
        vectors = [[(vectors[s.left] + vectors[s.right])[pick] for pick in s.picks] for s in stage]
    assert vectors == [[(line, lane) for line in range(lanes)] for lane in range(lanes)]

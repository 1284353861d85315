"""factorize: layers of low rank in parts, by ranks that are given or chosen, and whole where that does not pay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from relax_models import assert_same_numbers, build, op, weights
from tilewright.errors import UsageError
from tilewright.ir_passes import Factorize
from tilewright.ir_passes.compression.factorize import Factored, Rank
from tilewright.ir_passes.compression.low_rank import decompose
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.core.graph import Graph


def low_rank(outputs: int, inputs: int, rank: int, noise: float = 0.0) -> Any:
    generator = np.random.default_rng(rank)
    matrix = generator.standard_normal((outputs, rank)) @ generator.standard_normal((rank, inputs)) / np.sqrt(rank)
    return matrix + noise * generator.standard_normal((outputs, inputs))


def dense(matrix: Any) -> Any:
    w = constant(np.ascontiguousarray(matrix.T).astype("float32"))
    return build({"x": (3, 5, matrix.shape[1])}, lambda emit, x: emit(op.matmul(x, w), "dense"))


def test_a_product_becomes_two() -> None:
    result = Factorize({"dense": Rank((7,))})(dense(low_rank(48, 40, 7)))

    first, second = (array_of(value.args[1]) for _, value in Graph.read(result.module).bindings)

    def expected(emit: Any, x: Any) -> Any:
        return emit(op.matmul(emit(op.matmul(x, constant(first)), "dense"), constant(second)), "dense")

    assert result.modified and first.shape == (40, 7) and second.shape == (7, 48)
    tvm.ir.assert_structural_equal(result.module, build({"x": (3, 5, 40)}, expected))
    assert_same_numbers(dense(low_rank(48, 40, 7)), result.module)


@pytest.mark.parametrize("rank", [Rank((40,)), Rank(error=0.0)])
def test_a_full_rank_changes_nothing(rank: Rank) -> None:
    assert not Factorize({"dense": rank})(dense(low_rank(48, 40, 40))).modified


def test_the_rank_behind_noise_is_found() -> None:
    told: list[Factored | None] = []

    Factorize({"dense": Rank(error=0.05)}, tell=lambda name, found: told.append(found))(
        dense(low_rank(96, 80, 12, 0.01))
    )

    assert told[0] is not None and told[0].ranks == (12,) and told[0].error < 0.05


def test_a_rank_that_does_not_pay_leaves_the_layer_whole() -> None:
    module = dense(low_rank(48, 40, 30))

    assert not Factorize({"dense": Rank(error=0.01)})(module).modified
    assert Factorize({"dense": Rank(error=0.01)}, cycles=lambda products: -len(products))(module).modified


def test_inputs_that_matter_are_kept_best() -> None:
    """Whitened factors lose less of the outputs than plain ones, and what they say they do."""
    generator = np.random.default_rng(0)
    matrix = generator.standard_normal((30, 24))
    data = generator.standard_normal((500, 24)) * np.geomspace(0.01, 10, 24) @ generator.standard_normal((24, 24))
    moments = data.T @ data

    def error(left: Any, right: Any) -> float:
        return float(np.linalg.norm(data @ (left @ right - matrix).T) / np.linalg.norm(data @ matrix.T))

    whitened, plain = decompose(matrix, moments), decompose(matrix)
    found = error(whitened.left[:, :6], whitened.right[:6])
    assert found < 0.5 * error(plain.left[:, :6], plain.right[:6])
    assert whitened.error_of(6) == pytest.approx(found, rel=0.1)


@pytest.mark.parametrize(
    ("image", "kernel", "ranks", "count", "options"),
    [
        ((2, 10, 7, 6), (12, 10, 1, 1), (4,), 2, {"strides": 2}),
        ((2, 10, 7, 6), (12, 10, 1, 1), (4,), 2, {"padding": [0, 1, 2, 0]}),
        ((2, 10, 7), (12, 10, 1), (4,), 2, {}),
        ((2, 10, 9, 8), (12, 10, 3, 3), (5, 6), 3, {"padding": 1, "strides": 2}),
        ((2, 10, 9, 8), (12, 10, 3, 2), (20,), 2, {"padding": [1, 0, 2, 1], "strides": [2, 1], "dilation": [1, 2]}),
        ((2, 10, 9), (12, 10, 3), (5, 6), 3, {"padding": 2, "dilation": 2}),
        ((1, 5, 4, 5, 6), (7, 5, 2, 3, 2), (4, 5), 3, {"padding": 1}),
    ],
)
def test_kernels_of_low_rank_are_the_same_in_parts(
    image: tuple[int, ...], kernel: tuple[int, ...], ranks: tuple[int, ...], count: int, options: dict[str, Any]
) -> None:
    generator = np.random.default_rng(0)
    outputs, channels, *space = kernel
    if count == 3 or len(space) != 2 or space == [1, 1]:
        into, out = (ranks[0], ranks[-1])
        core = generator.standard_normal((out, into, *space))
        if count == 2:
            core = np.eye(into).reshape(into, into, *space)
        last, first = generator.standard_normal((outputs, out)), generator.standard_normal((into, channels))
        w = np.einsum("os,sr...,ri->oi...", last, core, first)
    else:
        down = generator.standard_normal((ranks[0], channels, space[0]))
        across = generator.standard_normal((outputs, ranks[0], space[1]))
        w = np.einsum("riy,orx->oiyx", down, across)
    w = constant((w / np.abs(w).max()).astype("float32"))
    convolution = {3: op.nn.conv1d, 4: op.nn.conv2d, 5: op.nn.conv3d}[len(image)]
    module = build({"x": image}, lambda emit, x: emit(convolution(x, w, **options), "conv"))

    result = Factorize({"conv": Rank(ranks)})(module)

    bindings = Graph.read(result.module).bindings
    assert len(bindings) == count and {str(var.name) for var, _ in bindings} == {"conv"}
    assert_same_numbers(module, result.module)


def test_of_the_ways_to_split_a_kernel_the_cheapest_is_taken() -> None:
    """A kernel of few channels in between is three, one that is separable two."""
    told: list[Factored | None] = []
    generator = np.random.default_rng(0)
    between = np.einsum("os,sryx,ri->oiyx", *(generator.standard_normal(s) for s in ((24, 4), (4, 4, 3, 3), (4, 24))))
    separable = np.einsum("riy,orx->oiyx", *(generator.standard_normal(s) for s in ((5, 24, 3), (24, 5, 3))))
    for w in (between, separable):
        module = build(
            {"x": (1, 24, 8, 8)}, lambda emit, x, w=w: emit(op.nn.conv2d(x, constant(w.astype("float32"))), "conv")
        )
        Factorize({"conv": Rank(error=0.01)}, tell=lambda name, found: told.append(found))(module)
    assert [(len(each.parts), each.ranks) for each in told if each is not None] == [(3, (4, 4)), (2, (5,))]


@pytest.mark.parametrize(("ranks", "groups"), [((0,), 1), ((50,), 1), ((3, 3), 1), ((4,), 2)])
def test_ranks_that_a_layer_cannot_have_are_refused(ranks: tuple[int, ...], groups: int) -> None:
    w = weights(16, 8 // groups, 1, 1)
    module = build({"x": (1, 8, 4, 4)}, lambda emit, x: emit(op.nn.conv2d(x, w, groups=groups), "conv"))

    with pytest.raises(UsageError, match="rank"):
        Factorize({"conv": Rank(ranks)})(module)

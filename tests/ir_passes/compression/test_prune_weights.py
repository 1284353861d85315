"""prune_weights: W * M in the graph, zeros where the pattern has them, and nothing at a rate of 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from relax_models import assert_same_numbers, build, evaluate, op, weights
from tilewright.errors import UsageError
from tilewright.ir_passes import FoldConstants, PruneWeights
from tilewright.ir_passes.compression.masks import keep, pattern_of
from tilewright.ir_passes.compression.moments import second_moments
from tilewright.ir_passes.compression.prune_weights import Pruned, Zeros
from tilewright.ir_passes.compression.second_order import output_error
from tilewright.ir_passes.compression.weight_matrix import weight_matrices, weight_matrix
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.core.graph import Graph


def dense(w: Any) -> Any:
    return build({"x": (5, 24)}, lambda emit, x: emit(op.nn.relu(emit(op.matmul(x, w), "dense")), "relu"))


def test_a_mask_stands_in_the_graph() -> None:
    w = weights(24, 40)
    mask = keep(array_of(w).astype("float64").T[None] ** 2, pattern_of("8x1"), 0.75)[0].T

    result = PruneWeights({"dense": Zeros("8x1", 0.75)})(dense(w))

    def expected(emit: Any, x: Any) -> Any:
        masked = emit(op.multiply(w, constant(mask.astype("float32"))), "dense")
        return emit(op.nn.relu(emit(op.matmul(x, masked), "dense")), "relu")

    assert result.modified
    tvm.ir.assert_structural_equal(result.module, build({"x": (5, 24)}, expected))
    folded = FoldConstants()(result.module).module
    [(_, product), _] = Graph.read(folded).bindings
    np.testing.assert_array_equal(array_of(product.args[1]), array_of(w) * mask)
    assert_same_numbers(result.module, folded)


@pytest.mark.parametrize("zeros", [Zeros("unstructured", 0.0), Zeros("4x1", 0.0), Zeros("4:4", 0.5)])
def test_a_mask_of_ones_changes_nothing(zeros: Zeros) -> None:
    moments = {"dense": np.eye(24)[None]}

    assert not PruneWeights({"dense": zeros})(dense(weights(24, 40))).modified
    assert not PruneWeights({"dense": zeros}, moments)(dense(weights(24, 40))).modified
    assert not PruneWeights({"relu": Zeros()})(dense(weights(24, 40))).modified


@pytest.mark.parametrize("groups", [1, 3])
def test_convolutions_lose_blocks_of_output_channels(groups: int) -> None:
    w = weights(18, 12 // groups, 3, 2)
    module = build({"x": (2, 12, 9, 8)}, lambda emit, x: emit(op.nn.conv2d(x, w, groups=groups), "conv"))

    result = FoldConstants()(PruneWeights({"conv": Zeros("6x1", 0.6)})(module).module)

    [(_, convolution)] = Graph.read(result.module).bindings
    pruned = array_of(convolution.args[1])
    blocks = pruned.reshape(groups, -1, 6, *pruned.shape[1:])
    nonzero = blocks.any(axis=2)
    assert abs(nonzero.mean() - 0.4) < 0.02
    assert (blocks[np.broadcast_to(nonzero[:, :, None], blocks.shape)] != 0).all()
    kept = pruned != 0
    np.testing.assert_array_equal(pruned[kept], array_of(w)[kept])


@pytest.mark.parametrize("groups", [1, 2])
def test_with_moments_outputs_lose_less(groups: int) -> None:
    """And the errors that are told are those of the outputs."""
    w = weights(16, 8 // groups, 3, 3)
    options = {"padding": 1, "strides": 2, "groups": groups}
    module = build({"x": (4, 8, 9, 9)}, lambda emit, x: emit(op.nn.conv2d(x, w, **options), "conv"))
    [(_, call)] = Graph.read(module).bindings
    layer = weight_matrix(call)
    assert layer is not None
    generator = np.random.default_rng(0)
    data = np.repeat(generator.standard_normal((4, 4, 9, 9)), 2, axis=1) + 0.3 * generator.standard_normal((4, 8, 9, 9))
    moments = second_moments(layer, data.astype("float32"))
    told: list[Pruned] = []

    result = PruneWeights({"conv": Zeros("4x1", 0.5)}, {"conv": moments}, lambda name, pruned: told.append(pruned))(module)

    def error(other: Any) -> float:
        (wanted,), (found,) = (evaluate(each, [data.astype("float32")]) for each in (module, other))
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    by_magnitude = PruneWeights({"conv": Zeros("4x1", 0.5)})(module)
    assert told[0].errors is not None
    before, after = told[0].errors
    assert before == pytest.approx(error(by_magnitude.module), rel=1e-3)
    assert after == pytest.approx(error(result.module), rel=1e-3)
    assert after < 0.8 * before


def test_layers_are_named_and_moments_are_of_their_inputs() -> None:
    w = weights(24, 40)
    layers = weight_matrices(dense(w))
    rows = np.random.default_rng(0).standard_normal((3, 5, 24))

    assert list(layers) == ["dense"]
    moments = second_moments(layers["dense"], rows)
    assert moments is not None
    np.testing.assert_allclose(moments[0], np.einsum("abi,abj->ij", rows, rows))
    half = layers["dense"].matrix() / 2
    outputs = rows.reshape(-1, 24) @ array_of(w)
    expected = np.linalg.norm(outputs / 2) / np.linalg.norm(outputs)
    assert output_error(half, layers["dense"].matrix(), moments) == pytest.approx(expected)


def test_a_pattern_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="pattern"):
        PruneWeights({"dense": Zeros("diagonal", 0.5)})(dense(weights(24, 40)))

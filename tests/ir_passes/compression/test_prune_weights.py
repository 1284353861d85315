"""prune_weights: W * M in the graph, zeros where the pattern has them, and nothing at a rate of 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from relax_models import assert_same_numbers, build, evaluate, op, weights
from tilewright.errors import UsageError
from tilewright.ir_passes import FoldConstants, PruneWeights
from tilewright.ir_passes.compression.columns import columns_of
from tilewright.ir_passes.compression.layer_matrix import matrix_by_outputs, moments_by_outputs, weights_by_outputs
from tilewright.ir_passes.compression.layers import layers_of
from tilewright.ir_passes.compression.masks import keep, pattern_of
from tilewright.ir_passes.compression.prune_weights import Pruned, Zeros
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
    layer = layers_of(Graph.read(module))["conv"]
    generator = np.random.default_rng(0)
    data = np.repeat(generator.standard_normal((4, 4, 9, 9)), 2, axis=1) + 0.3 * generator.standard_normal((4, 8, 9, 9))
    (result,) = evaluate(module, [data.astype("float32")])
    columns = columns_of(layer, data.astype("float32"), result, np.arange(result.size // 16)).transpose(1, 0, 2)
    moments = columns.transpose(0, 2, 1) @ columns
    told: list[Pruned] = []

    result = PruneWeights({"conv": Zeros("4x1", 0.5)}, {"conv": moments}, lambda name, pruned: told.append(pruned))(
        module
    )

    def error(other: Any) -> float:
        (wanted,), (found,) = (evaluate(each, [data.astype("float32")]) for each in (module, other))
        return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))

    by_magnitude = PruneWeights({"conv": Zeros("4x1", 0.5)})(module)
    assert told[0].errors is not None
    before, after = told[0].errors
    assert before == pytest.approx(error(by_magnitude.module), rel=1e-3)
    assert after == pytest.approx(error(result.module), rel=1e-3)
    assert after < 0.8 * before


@pytest.mark.parametrize("groups", [1, 2])
def test_matrices_have_the_inputs_of_a_tap_side_by_side(groups: int) -> None:
    w = weights(6, 8 // groups, 3, 2)
    module = build({"x": (1, 8, 5, 5)}, lambda emit, x: emit(op.nn.conv2d(x, w, groups=groups), "conv"))
    layer = layers_of(Graph.read(module))["conv"]

    matrix = matrix_by_outputs(layer)

    np.testing.assert_array_equal(
        matrix, array_of(w).transpose(0, 2, 3, 1).reshape(groups, 6 // groups, -1).astype("float64")
    )
    np.testing.assert_array_equal(weights_by_outputs(layer, matrix), array_of(w))
    rows = np.random.default_rng(0).standard_normal((groups, 9, 48 // groups))
    gram = rows.swapaxes(1, 2) @ rows
    own = rows.reshape(groups, 9, 8 // groups, 6).swapaxes(2, 3).reshape(groups, 9, -1)
    np.testing.assert_allclose(moments_by_outputs(layer, gram), own.swapaxes(1, 2) @ own)


def test_a_pattern_that_there_is_not_is_refused() -> None:
    with pytest.raises(UsageError, match="pattern"):
        PruneWeights({"dense": Zeros("diagonal", 0.5)})(dense(weights(24, 40)))

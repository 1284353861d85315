"""Which channels go: those that are missed least, in steps of the target's width."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import build, op
from tilewright.ir_passes.compression.channel_graph import ChannelGraph, channel_graph
from tilewright.ir_passes.compression.channel_groups import channel_groups
from tilewright.ir_passes.compression.choose_channels import by_rate, by_work, steps_of
from tilewright.ir_passes.compression.columns import columns_of, matrix_of, results_of, weights_of
from tilewright.ir_passes.compression.cut import cut_layers
from tilewright.ir_passes.compression.importance import by_magnitude, by_second_order
from tilewright.ir_passes.core.constants import constant


def network(first: Any, second: Any) -> ChannelGraph:
    def body(emit: Any, x: Any) -> Any:
        middle = emit(op.matmul(x, constant(first)), "first")
        return emit(op.matmul(middle, constant(second)), "second")

    return channel_graph(build({"x": (4, len(first))}, body))


def random_network() -> ChannelGraph:
    rng = np.random.default_rng(3)
    return network(*(rng.standard_normal(shape).astype(np.float32) for shape in ((5, 32), (32, 3))))


def test_small_weights_go_first() -> None:
    first = np.ones((5, 8), np.float32)
    first[:, [2, 6]] = 0.01
    channels = network(first, np.ones((8, 3), np.float32))

    ranking = by_magnitude(channels, channel_groups(channels)[0], [2, 2])

    assert set(ranking.chunks[0]) == {2, 6}
    assert list(ranking.errors) == sorted(ranking.errors)


def test_channels_that_others_make_up_for_go_first() -> None:
    """Channel 3 is large, and twice channel 0; channel 1 is small, and like no other. Damping leaves a small error."""
    rng = np.random.default_rng(1)
    data = rng.standard_normal((500, 4))
    data[:, 3] = 2 * data[:, 0]
    data[:, 1] *= 0.3
    channels = network(np.eye(4, dtype=np.float32), np.ones((4, 2), np.float32))
    group = channel_groups(channels)[0]

    ranking = by_second_order(channels, group, [1, 1], {"second": (data.T @ data)[None]})

    assert ranking.chunks[0] in {(0,), (3,)}
    assert ranking.chunks[1] == (1,)
    assert ranking.errors[0] < 0.05 * ranking.errors[1]


def test_errors_are_those_of_the_best_weights_that_are_left() -> None:
    rng = np.random.default_rng(2)
    data = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6))
    second = rng.standard_normal((6, 4)).astype(np.float32)
    channels = network(np.eye(6, dtype=np.float32), second)
    group = channel_groups(channels)[0]

    ranking = by_second_order(channels, group, [2], {"second": (data.T @ data)[None]})

    left = [channel for channel in range(6) if channel not in ranking.chunks[0]]
    want = data @ second
    residual = want - data[:, left] @ np.linalg.lstsq(data[:, left], want, rcond=None)[0]
    assert ranking.errors[0] == pytest.approx((residual**2).sum() / (want**2).sum(), rel=0.05)


@pytest.mark.parametrize(("rate", "round_to", "left"), [(0.5, 1, 16), (0.3, 16, 16), (0.1, 16, 32), (0.99, 8, 8)])
def test_a_rate_is_rounded_to_whole_vectors(rate: float, round_to: int, left: int) -> None:
    channels = random_network()
    groups = channel_groups(channels)

    keep = by_rate(
        channels, groups, lambda group, steps: by_magnitude(channels, group, steps), lambda group: rate, round_to
    )

    assert cut_layers(channels, keep).size(channels.outputs(channels.layers["first"])) == left


@pytest.mark.parametrize(("width", "steps"), [(50, [2, 16, 16]), (48, [16, 16]), (24, [8, 8]), (8, [4]), (3, [1, 1])])
def test_steps_leave_whole_vectors(width: int, steps: list[int]) -> None:
    channels = network(np.ones((2, width), np.float32), np.ones((width, 2), np.float32))

    assert steps_of(channel_groups(channels)[0], 16) == steps


def test_work_is_cut_until_the_share_is_left() -> None:
    channels = random_network()
    groups = channel_groups(channels)

    keep = by_work(channels, groups, lambda group, steps: by_magnitude(channels, group, steps), 0.5, 4)

    assert len(keep["first"]) == 16


def test_half_way_the_weights_are_those_that_make_up_for_the_loss() -> None:
    """And errors are told in the unit of a measurement that is made with them."""
    channels = random_network()
    rows = np.random.default_rng(4).standard_normal((400, 5)) @ channels.layers["first"].weights
    rows = rows + 0.1 * np.random.default_rng(5).standard_normal(rows.shape)
    grams = {"second": (rows.T @ rows)[None]}
    group = channel_groups(channels)[0]

    ranking = by_second_order(channels, group, [4] * 7, grams)

    gone = [unit for chunk in ranking.chunks[: ranking.half] for unit in chunk]
    (adapted,) = ranking.middle["second"]
    assert sorted(np.flatnonzero((adapted == 0).all(axis=1)).tolist()) == sorted(gone) and len(gone) == 16
    own = channels.layers["second"].weights
    left = np.delete(rows, gone, axis=1)
    best = rows @ own - left @ np.linalg.lstsq(left, rows @ own)[0]
    lost = np.square(rows @ (own - adapted)).sum()
    assert np.square(best).sum() <= lost <= 1.5 * np.square(best).sum()
    scaled = ranking.scaled(0.25)
    assert scaled.errors[ranking.half - 1] == pytest.approx(0.25)
    assert scaled.errors[-1] / scaled.errors[0] == pytest.approx(ranking.errors[-1] / ranking.errors[0])


@pytest.mark.parametrize(("groups", "strides"), [(1, 1), (2, 1), (4, 2)])
def test_columns_times_weights_are_the_results(groups: int, strides: int) -> None:
    import relax_numpy
    from relax_models import random_inputs, weights

    def body(emit: Any, x: Any) -> Any:
        return emit(op.nn.conv2d(x, weights(8, 4 // groups, 3, 2), strides=strides, padding=1, groups=groups), "layer")

    module = build({"x": (2, 4, 5, 6)}, body)
    (data,) = random_inputs(module)
    (result,) = relax_numpy.run(module, [data])
    layer = channel_graph(module).layers["layer"]
    rows = np.array([0, 3, 7, result.size // 8 - 1])
    matrix = matrix_of(layer, layer.weights)

    got = np.einsum("rgi,gio->rgo", columns_of(layer, data, result, rows), matrix)

    np.testing.assert_allclose(got, results_of(layer, result, rows), atol=1e-6)
    np.testing.assert_array_equal(weights_of(layer, matrix, layer.weights.shape), layer.weights)

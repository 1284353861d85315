"""A cut network computes what the whole one does with the cut channels at zero: random networks, random cuts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import relax_numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from relax_models import build, op, operators, random_inputs, weights
from tilewright.errors import CutError
from tilewright.ir_passes.compression.channel_graph import ChannelGraph, channel_graph
from tilewright.ir_passes.compression.channel_groups import channel_groups
from tilewright.ir_passes.compression.cut import Cut, cut_units
from tilewright.ir_passes.compression.cut_channels import CutChannels, without
from tilewright.ir_passes.core.base import verify

sys.path.insert(0, str(Path(__file__).parent))
from random_networks import image_network, sequence_network  # of this folder


def random_cut(channels: ChannelGraph, seed: int) -> Cut:
    """Some units of every group that can be cut; at least one of each is left."""
    rng = np.random.default_rng(seed)
    gone: list[int] = []
    for group in channel_groups(channels):
        free = [unit for unit, ok in zip(group.units, group.free, strict=True) if ok]
        if group.can_be_cut and rng.random() < 0.7:
            most = len(free) - (len(free) == len(group.units))
            gone += rng.choice(free, int(rng.integers(0, most + 1)), replace=False).tolist()
    return cut_units(channels, gone)


def masked(cut: Cut) -> Any:
    """What is cut becomes zero in every tensor: the definition of a cut."""
    channels = cut.channels

    def change(var: Any, value: Any) -> Any:
        tensor = channels.tensors[var]
        for axis in range(value.ndim):
            left = cut.mask(channels.links.axis(tensor, axis))
            value = np.where(left.reshape([-1 if each == axis else 1 for each in range(value.ndim)]), value, 0)
        return value

    return change


def assert_cut_is_zero(module: Any, cut: Cut) -> None:
    result = without(module, cut)
    assert result.modified == (not cut.left.all())
    verify(result.module, "cut_channels")
    inputs = random_inputs(module)
    want = relax_numpy.run(module, inputs, masked(cut))
    got = relax_numpy.run(result.module, inputs)
    for wanted, given_ in zip(want, got, strict=True):
        assert np.isfinite(wanted).all()
        assert np.abs(wanted - given_).max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def check_random_network(seed: int) -> None:
    module = (image_network if seed % 3 else sequence_network)(seed)
    assert_cut_is_zero(module, random_cut(channel_graph(module), seed))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_a_cut_network_is_the_whole_one_with_zeros(seed: int) -> None:
    check_random_network(seed)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_cut_networks_are_whole_ones_with_zeros(seed: int) -> None:
    check_random_network(seed)


def two_convolutions(residual: bool = False) -> Any:
    def body(emit: Any, x: Any) -> Any:
        first = emit(op.nn.conv2d(x, weights(8, 3, 3, 3), padding=1), "first")
        active = emit(op.nn.relu(first), "relu")
        second = emit(op.nn.conv2d(active, weights(8, 8, 1, 1)), "second")
        if residual:
            second = emit(op.add(second, active), "sum")
        return emit(op.nn.conv2d(second, weights(4, 8, 1, 1)), "last")

    return build({"x": (1, 3, 4, 4)}, body)


def test_the_pass_makes_a_layer_and_its_reader_smaller() -> None:
    module = CutChannels((("first", (0, 2, 5)),))(two_convolutions()).module

    assert operators(module) == operators(two_convolutions())
    layers = channel_graph(module).layers
    assert [layer.weights.shape for layer in layers.values()] == [(3, 3, 3, 3), (8, 3, 1, 1), (4, 8, 1, 1)]
    assert (layers["second"].weights == channel_graph(two_convolutions()).layers["second"].weights[:, [0, 2, 5]]).all()


def test_keeping_all_channels_changes_nothing() -> None:
    module = two_convolutions()

    result = CutChannels((("first", tuple(range(8))),))(module)

    assert not result.modified
    assert result.module is module


def test_what_a_sum_holds_together_is_cut_together() -> None:
    module = two_convolutions(residual=True)

    (group, _) = channel_groups(channel_graph(module))
    cut = CutChannels((("second", (0, 1)),))(module).module

    assert list(group.channels) == ["first", "second"]
    assert "sum" in group.held_by
    assert [layer.weights.shape[0] for layer in channel_graph(cut).layers.values()] == [2, 2, 4]


@pytest.mark.parametrize(
    ("keep", "told"),
    [
        ({"last": (0,)}, "an output of the model"),
        ({"first": ()}, "no channel left"),
        ({"first": (8,)}, "has no channel 8"),
        ({"first": (0,), "second": (0, 1)}, "channel 1 is kept, and goes together with channel 1 of 'first'"),
    ],
)
def test_what_cannot_be_cut_is_refused(keep: dict[str, tuple[int, ...]], told: str) -> None:
    with pytest.raises(CutError, match=told):
        CutChannels(tuple(keep.items()))(two_convolutions(residual=True))

"""The window template: depthwise convolutions, pools with every kind of padding, means over space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, random, relative_error
from numpy_reference import Array, convolution, pad, windows
from tilewright import targets
from tilewright.schedules.templates import window_choice
from tvm import relax


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    channels=st.sampled_from([2, 8, 12, 16, 33, 40]),
    size=st.integers(5, 17),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
)
def test_any_depthwise(run: Runner, channels: int, size: int, kernel: int, stride: int, dilation: int, padding) -> None:
    size += dilation * (kernel - 1)
    data, weights = random(1, size, size, channels), random(channels, kernel, kernel, 1, seed=1)
    constant = relax.const(weights)
    actual = run(
        lambda x: relax.op.nn.conv2d(
            x,
            constant,
            strides=(stride,) * 2,
            padding=padding,
            dilation=(dilation,) * 2,
            groups=channels,
            data_layout="NHWC",
            kernel_layout="OHWI",
        ),
        data,
    )
    expected = convolution(data, weights, (stride,) * 2, padding, (dilation,) * 2, channels)
    assert relative_error(actual, expected) < TOLERANCE
    assert run.templates == ["window"]


def _along_a_line(
    run: Runner, data: Array, weights: Array, stride: int, padding: Sequence[int], dilation: int
) -> Array:
    return run(
        lambda x: relax.op.nn.conv1d(
            x,
            relax.const(weights),
            strides=stride,
            padding=padding,
            dilation=dilation,
            groups=weights.shape[0],
            data_layout="NWC",
            kernel_layout="OWI",
        ),
        data,
    )


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    channels=st.sampled_from([8, 16, 33]),
    kernel=st.sampled_from([7, 8, 31]),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 16), st.integers(0, 16)),
)
def test_any_depthwise_along_a_line(
    run: Runner, channels: int, kernel: int, stride: int, dilation: int, padding: tuple[int, int]
) -> None:
    data, weights = random(2, 67, channels), random(channels, kernel, 1, seed=1)
    actual = _along_a_line(run, data, weights, stride, padding, dilation)
    assert relative_error(actual, convolution(data, weights, (stride,), padding, (dilation,), channels)) < TOLERANCE
    assert run.templates == ["window"]


def test_an_infinite_weight_meets_no_padding(run: Runner) -> None:
    """0 * inf would be NaN."""
    data, weights = np.ones((1, 20, 8), np.float32), np.ones((8, 9, 1), np.float32)
    weights[:, 0] = np.inf
    actual = _along_a_line(run, data, weights, 1, (4, 4), 1)
    assert np.array_equal(actual[0, :, 0], [5, 6, 7, 8, *[np.inf] * 16])


@pytest.mark.sweep(3)
@pytest.mark.parametrize("channels", [3, 16, 40])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 2, 1)])
def test_max_pool(run: Runner, channels: int, dilation: int, padding: tuple[int, ...]) -> None:
    data = random(2, 13, 11, channels) - 5  # below zero: a padding of 0 would show
    actual = run(
        lambda x: relax.op.nn.max_pool2d(
            x, (3, 3), strides=(2, 2), padding=padding, dilation=(dilation,) * 2, layout="NHWC"
        ),
        data,
    )
    view = windows(pad(data, padding, -np.inf), (3, 3), (2, 2), (dilation,) * 2)
    assert np.array_equal(actual, view.max(axis=(3, 4)))


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 1, 1, 1), (0, 1, 1, 2)])
def test_average_pool(run: Runner, include: bool, padding: tuple[int, ...]) -> None:
    data = random(1, 12, 10, 24)
    actual = run(
        lambda x: relax.op.nn.avg_pool2d(
            x, (3, 3), strides=(1, 1), padding=padding, count_include_pad=include, layout="NHWC"
        ),
        data,
    )
    view = windows(pad(data, padding), (3, 3), (1, 1), (1, 1)).sum(axis=(3, 4))
    ones = np.full_like(data, 1)
    count = windows(pad(ones, padding, 1.0 if include else 0.0), (3, 3), (1, 1), (1, 1)).sum(axis=(3, 4))
    assert relative_error(actual, view / count) < TOLERANCE


@pytest.mark.parametrize("include", [True, False])
def test_average_pool_in_ceil_mode_counts_no_overhang(run: Runner, include: bool) -> None:
    data = random(1, 8, 8, 16)
    actual = run(
        lambda x: relax.op.nn.avg_pool2d(
            x, (3, 3), strides=(2, 2), padding=(1, 1, 1, 1), ceil_mode=True, count_include_pad=include, layout="NHWC"
        ),
        data,
    )
    # Five windows a side reach one element past the padding: it is no padding that was given, so it never counts.
    overhang = (0, 0, 1, 1)
    total = windows(pad(pad(data, (1,) * 4), overhang), (3, 3), (2, 2), (1, 1)).sum(axis=(3, 4))
    ones = pad(np.ones_like(data), (1,) * 4, 1.0 if include else 0.0)
    count = windows(pad(ones, overhang), (3, 3), (2, 2), (1, 1)).sum(axis=(3, 4))
    assert actual.shape == (1, 5, 5, 16)
    assert relative_error(actual, total / count) < TOLERANCE


@pytest.mark.parametrize("channels", [5, 48])
@pytest.mark.parametrize("keepdims", [True, False])
def test_mean_over_space(run: Runner, channels: int, keepdims: bool) -> None:
    data = random(2, 7, 9, channels) + 1
    actual = run(lambda x: relax.op.mean(x, [1, 2], keepdims=keepdims), data)
    assert relative_error(actual, data.mean(axis=(1, 2), keepdims=keepdims)) < TOLERANCE
    assert run.templates == ["window"]


@pytest.mark.parametrize("channels", [512, 1024])
def test_tiles_read_no_more_lines_than_stay_where_few_can(channels: int) -> None:
    """512 channels of float32: positions lie 2 KiB apart, and two of 64 sets of L1 hold all of them, 16 lines."""
    avx2 = targets.parse("x86_64-unknown-linux-gnu", cpu="x86-64-v3", cores=1)
    workload = window_choice.Windows((1, 28, 28, channels), (3, 3), (1, 1), (1, 1), weighted=True)
    choice = window_choice.default(workload, avx2)
    whole = choice.vectors * choice.lanes * 4 == avx2.core.line_bytes
    assert whole or 3 * (choice.positions + 2) <= 8 * 2 * 512 // channels
    elsewhere = replace(workload, output=(1, 28, 28, channels - 32))
    assert window_choice.default(elsewhere, avx2).positions > choice.positions


@pytest.mark.parametrize("cpu", ["x86-64-v3", "x86-64-v4"])
def test_what_l2_cannot_hold_is_read_in_long_runs(cpu: str) -> None:
    """A block of one line of channels at 3,136 places waits for each of them; one that holds all channels for none."""
    target = targets.parse("x86_64-linux-gnu", cpu=cpu, cores=1)
    for output in ((1, 56, 56, 512), (1, 28, 28, 1024)):
        workload = window_choice.Windows(output, (3, 3), (1, 1), (1, 1), weighted=True)
        assert 8 * output[1] * output[2] * output[3] > target.l2_bytes
        choice = window_choice.default(workload, target)
        assert choice.panels * choice.vectors * choice.lanes * 4 >= 8 * target.core.line_bytes
        narrow = replace(choice, panels=1)
        assert window_choice.estimate(workload, narrow, target) > window_choice.estimate(workload, choice, target)

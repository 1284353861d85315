"""Taps of a filter that meet no image are left out: how many that is, and that the sums are right without them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import TOLERANCE, Runner, random, relative_error, run_convolution
from numpy_reference import convolution
from tilewright import targets
from tilewright.annotations import INSIDE
from tilewright.schedules.legalize import legalize
from tilewright.schedules.schedule import schedule_module
from tilewright.schedules.templates.table import TEMPLATES
from tilewright.schedules.templates.taps import Filter, Inside, offsets_inside, share_inside
from tilewright.schedules.templates.template import Chooser
from tilewright.schedules.tensorir.rebuild import found
from tvm import relax, tirx


def filter_of(size: int, kernel: int, dilation: int, *, stride: int = 1, images: int = 1) -> Filter:
    """A square filter whose result is as large as the image divided by the stride, with padding all around."""
    padding = dilation * (kernel - 1) // 2
    output = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    return Filter(
        images, (output,) * 2, (kernel,) * 2, (stride,) * 2, (dilation,) * 2, True, image=((padding, size),) * 2
    )


def counted(filter: Filter, rows: int) -> float:
    """The share, tile by tile, offset by offset, pixel by pixel: only what all pixels of a tile leave out is left out
    by whole lines first, and then by columns where the tile lies within one line."""
    pixels = list(itertools.product(range(filter.images), *map(range, filter.output)))
    tiles = [pixels[first : first + rows] for first in range(0, len(pixels), rows)]

    def meets(tile: list[tuple[int, ...]], axis: int, offset: int) -> bool:
        before, extent = filter.image[axis]
        if len({pixel[: axis + 1] for pixel in tile}) > 1:
            return True
        places = [pixel[axis + 1] * filter.strides[axis] + offset * filter.dilation[axis] for pixel in tile]
        return max(places) >= before and min(places) < before + extent

    taps = list(itertools.product(*map(range, filter.kernel)))
    kept = sum(all(meets(tile, axis, tap[axis]) for axis in range(2)) for tile in tiles for tap in taps)
    return kept / (len(tiles) * len(taps))


def test_a_filter_that_lies_mostly_beside_the_image() -> None:
    far = filter_of(28, 3, 24)
    assert share_inside(far, 2, 1) == pytest.approx((36 / 84) ** 2)
    assert share_inside(far, 2, 14) == pytest.approx(36 / 84 * 2 / 3)  # half of a line meets two of three
    assert offsets_inside(far, 2, 14) == (Inside(1, 24, 28), Inside(2, 24, 28))
    assert offsets_inside(far, 1, 14) == (Inside(1, 24, 28),)


def test_an_ordinary_filter_stays_whole() -> None:
    assert share_inside(filter_of(56, 3, 1), 2, 14) == 1.0
    assert offsets_inside(filter_of(56, 3, 1), 2, 14) == ()
    assert offsets_inside(None, 2, 14) == ()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    size=st.integers(3, 12),
    kernel=st.sampled_from([2, 3, 5]),
    dilation=st.integers(1, 12),
    stride=st.integers(1, 2),
    images=st.integers(1, 3),
    rows=st.integers(1, 30),
)
def test_the_share_is_what_tiles_compute(
    size: int, kernel: int, dilation: int, stride: int, images: int, rows: int
) -> None:
    filter = filter_of(size, kernel, dilation, stride=stride, images=images)
    share, expected = share_inside(filter, 2, rows), counted(filter, rows)
    assert share == pytest.approx(expected if expected < 0.96 else 1.0)


def test_loops_over_offsets_say_where_the_image_is() -> None:
    decide = Chooser(targets.parse("x86_64-linux-gnu", cpu="x86-64-v3"), TEMPLATES)
    builder = relax.BlockBuilder()
    image = relax.Var("x", relax.TensorType((1, 28, 28, 24), "float32"))
    weights = relax.const(random(24, 3, 3, 24, seed=1))
    with builder.function("main", [image]):
        with builder.dataflow():
            call = relax.op.nn.conv2d(image, weights, padding=24, dilation=24, data_layout="NHWC", kernel_layout="OHWI")
            result = builder.emit_output(builder.emit(call))
        builder.emit_func_output(result)
    module = schedule_module(legalize(builder.get(), decide), decide)
    (kernel,) = (each for each in module.functions.values() if isinstance(each, tirx.PrimFunc))
    said = [INSIDE.of(loop) for loop in found(kernel.body, tirx.For)]
    assert [each for each in said if each] == [(2, 24, 28), (1, 24, 28)]  # inner loops first


@pytest.mark.sweep(3)
@pytest.mark.parametrize(
    ("images", "size", "channels", "outputs", "kernel", "dilation", "stride", "groups"),
    [
        (1, (28, 28), 24, 48, 3, 24, 1, 1),
        (1, (28, 28), 24, 20, 3, 12, 1, 1),
        (2, (9, 9), 17, 30, 3, 5, 1, 1),
        (3, (7, 7), 16, 20, 5, 1, 1, 1),
        (1, (7, 7), 32, 33, 3, 1, 2, 1),
        (2, (13, 11), 16, 32, 3, 4, 1, 2),
        (1, (9, 9), 1, 8, 3, 5, 1, 1),
        (8, (5, 5), 24, 24, 3, 2, 1, 1),
        (1, (40,), 16, 24, 3, 30, 1, 1),
        (2, (5, 6, 7), 8, 16, 3, 4, 1, 1),
    ],
)
def test_sums_without_padding(
    run: Runner,
    images: int,
    size: tuple[int, ...],
    channels: int,
    outputs: int,
    kernel: int,
    dilation: int,
    stride: int,
    groups: int,
) -> None:
    image = random(images, *size, channels * groups, seed=1)
    weights = random(outputs * groups, *(kernel,) * len(size), channels, seed=2)
    each = (dilation * (kernel - 1) // 2,) * (2 * len(size))
    shape = (stride,) * len(size), each, (dilation,) * len(size)
    actual = run_convolution(run, image, weights, *shape, groups)
    assert relative_error(actual, convolution(image, weights, *shape, groups)) < TOLERANCE
    assert np.abs(actual).max() > 1

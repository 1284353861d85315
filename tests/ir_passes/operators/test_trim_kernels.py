"""trim_kernels: weights that meet nothing but padding are cut off, and the numbers stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from relax_models import assert_same_numbers, build, op, weights
from tilewright.ir_passes import TrimKernels
from tilewright.ir_passes.core.constants import array_of, constant
from tilewright.ir_passes.core.graph import Graph

# Image, weights, options, and the kernel that is left.
_CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], tuple[int, ...]]] = {
    "the centre alone": ((2, 4, 6, 5), (3, 4, 3, 3), {"padding": 7, "dilation": 7}, (1, 1)),
    "rows, not columns": ((1, 4, 5, 9), (3, 4, 3, 3), {"padding": 6, "dilation": 6}, (1, 3)),
    "five rows of seven": ((1, 4, 5, 5), (3, 4, 7, 7), {"padding": 6, "dilation": 2}, (5, 5)),
    "groups and strides": (
        (1, 4, 6, 6),
        (8, 2, 3, 3),
        {"padding": 8, "dilation": 8, "strides": 2, "groups": 2},
        (1, 1),
    ),
    "one side": ((1, 2, 4, 4), (3, 2, 5, 1), {"padding": [4, 0, 0, 0]}, (4, 1)),
    "over time": ((1, 4, 5), (3, 4, 3), {"padding": 5, "dilation": 5}, (1,)),
    "a stride over the image": ((1, 2, 3, 3), (2, 2, 1, 3), {"padding": [0, 2, 0, 0], "strides": [1, 3]}, (1, 1)),
}


@pytest.mark.parametrize("name", _CASES)
def test_ends_that_meet_padding_are_cut_off(name: str) -> None:
    image, kernel, options, left = _CASES[name]
    convolution = op.nn.conv1d if len(image) == 3 else op.nn.conv2d
    module = build({"x": image}, lambda emit, x: emit(convolution(x, weights(*kernel), **options)))

    result = TrimKernels()(module)

    [(_, call)] = Graph.read(result.module).bindings
    trimmed = array_of(call.args[1])
    assert result.modified and trimmed is not None and trimmed.shape[2:] == left
    assert_same_numbers(module, result.module)


@pytest.mark.parametrize(
    ("image", "kernel", "options"),
    [
        ((1, 4, 6, 6), (3, 4, 3, 3), {"padding": 1}),
        ((1, 4, 6, 6), (3, 4, 3, 3), {"padding": 5, "dilation": 5}),  # one row of each end meets one of the image
        ((1, 4, 6, 6), (3, 4, 3, 3), {}),
    ],
)
def test_what_meets_the_image_stays(image: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any]) -> None:
    module = build({"x": image}, lambda emit, x: emit(op.nn.conv2d(x, weights(*kernel), **options)))

    assert not TrimKernels()(module).modified


def test_infinite_weights_stay() -> None:
    kernel = np.ones((1, 1, 3, 3), np.float32)
    kernel[0, 0, 0, 0] = np.inf
    module = build({"x": (1, 1, 2, 2)}, lambda emit, x: emit(op.nn.conv2d(x, constant(kernel), padding=4, dilation=4)))

    assert not TrimKernels()(module).modified

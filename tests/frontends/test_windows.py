"""Where windows lie: SAME with strides and dilations, windows larger than their input, transposed convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from operator_cases import Array, Case, check, onnxruntime_outputs
from tilewright.errors import ModelError


def _random(*shape: int) -> Array:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def _same_convolution(x: Array, weights: Array, mode: str, stride: int, dilation: int) -> Array:
    """A convolution of [N, C, L] by [O, C, K], padded as the specification says, in float64."""
    length, taps = x.shape[2], np.arange(weights.shape[2]) * dilation
    count = -(-length // stride)
    total = max((count - 1) * stride + taps[-1] + 1 - length, 0)
    before = total // 2 if mode == "SAME_UPPER" else total - total // 2
    padded = np.pad(x.astype(np.float64), [(0, 0), (0, 0), (before, total - before)])
    windows = padded[:, :, np.arange(count)[:, None] * stride + taps]
    return np.einsum("nctk,ock->not", windows, weights).astype(x.dtype)


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_convolutions(mode: str) -> None:
    cases = {}
    for kernel, stride, dilation in ((2, 1, 2), (3, 2, 1), (4, 3, 1), (3, 1, 3), (2, 5, 1), (2, 3, 2), (1, 2, 1)):
        attributes = {"auto_pad": mode, "strides": [stride], "dilations": [dilation]}
        x, weights, each = _random(1, 2, 8), _random(3, 2, kernel), _random(2, 1, kernel)
        expected = [_same_convolution(x, weights, mode, stride, dilation)]
        cases[f"{kernel} {stride} {dilation}"] = Case("Conv", {"x": x}, {"w": weights}, attributes, expected)
        parts = [_same_convolution(x[:, [c]], each[[c]], mode, stride, dilation) for c in range(2)]
        grouped = {**attributes, "group": 2}
        expected = [np.concatenate(parts, 1)]
        cases[f"depthwise {kernel} {stride} {dilation}"] = Case("Conv", {"x": x}, {"w": each}, grouped, expected)
    check(cases, atol=1e-5)


@pytest.mark.sweep(2)
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_transposed_convolutions(mode: str) -> None:
    """Kernels that do not reach each other leave nothing to cut: the result is shorter than the input times stride."""
    cases = {}
    for kernel, stride, dilation in ((2, 3, 1), (1, 2, 1), (2, 5, 2), (3, 2, 1), (4, 3, 1), (3, 3, 2)):
        attributes = {"auto_pad": mode, "strides": [stride], "dilations": [dilation]}
        inputs, weights = {"x": _random(1, 2, 5)}, {"w": _random(2, 3, kernel)}
        cases[f"{kernel} {stride} {dilation}"] = Case("ConvTranspose", inputs, weights, attributes)
        padded = {**attributes, "output_padding": [1]}
        cases[f"{kernel} {stride} {dilation} padded"] = Case("ConvTranspose", inputs, weights, padded)
        full = 4 * stride + (kernel - 1) * dilation + 1
        for length in (full - 1, full, full + 1):
            shaped = {**attributes, "output_shape": [length]}
            cases[f"{kernel} {stride} {dilation} to {length}"] = Case("ConvTranspose", inputs, weights, shaped)
    check(cases, atol=1e-5)


def test_a_kernel_of_two_in_steps_of_three() -> None:
    x = np.array([[[1, 2, 3]]], np.float32)
    expected = np.array([[[1, 1, 0, 2, 2, 0, 3, 3]]], np.float32)
    attributes = {"auto_pad": "SAME_UPPER", "strides": [3]}
    check({"": Case("ConvTranspose", {"x": x}, {"w": np.ones((1, 1, 2), np.float32)}, attributes, [expected])})


@pytest.mark.parametrize("step", [7, 1 << 31, (1 << 63) - 1])
def test_steps_that_nothing_takes(step: int) -> None:
    """Of one window, one tap, one element: how far the next is decides nothing."""
    image, integers = _random(1, 2, 6, 5), np.arange(60, dtype=np.int8).reshape(1, 2, 6, 5)
    weights, tap = _random(2, 3, 3, 2), _random(2, 2, 1, 1)
    cases = {}
    for name, x in (("MaxPool", image), ("MaxPool", integers), ("AveragePool", image), ("LpPool", image)):
        for pads in ([0, 0, 0, 0], [1, 1, 1, 1]):
            attributes = {"kernel_shape": [3, 3], "pads": pads}
            usual = Case(name, {"x": x}, {}, {**attributes, "strides": [7, 1]})
            cases[f"{name} {x.dtype} {pads}"] = Case(
                name, {"x": x}, {}, {**attributes, "strides": [step, 1]}, onnxruntime_outputs(usual, 18)
            )
    for name, constants, attribute in (
        ("Conv", {"w": np.swapaxes(weights, 0, 1)}, "strides"),
        ("Conv", {"w": tap}, "dilations"),
        ("ConvTranspose", {"w": tap}, "dilations"),
    ):
        usual = Case(name, {"x": image}, constants, {attribute: [7, 7]})
        cases[f"{name} {attribute}"] = Case(
            name, {"x": image}, constants, {attribute: [step, step]}, onnxruntime_outputs(usual, 18)
        )
    one = {"x": image[:, :, :1, :1]}
    usual = Case("ConvTranspose", one, {"w": weights}, {"strides": [7, 7]})
    cases["ConvTranspose"] = Case(
        "ConvTranspose", one, {"w": weights}, {"strides": [step, step]}, onnxruntime_outputs(usual, 18)
    )
    check(cases, atol=1e-5)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_infinite_weights_of_transposed_convolutions_meet_no_zeros(value: float) -> None:
    cases = {}
    for groups, strides, dilations, pads in (
        (1, [3, 2], [1, 1], [0, 0, 0, 0]),
        (2, [2, 3], [2, 1], [1, 0, 2, 1]),
        (4, [1, 1], [1, 2], [0, 1, 1, 0]),
        (1, [3, 4], [1, 1], [0, 0, 0, 0]),  # blocks that do not overlap
    ):
        weights = np.random.default_rng(groups).standard_normal((4, 3, 3, 4)).astype(np.float32)
        weights[1, 1, 1, 2] = value
        attributes = {"group": groups, "strides": strides, "dilations": dilations, "pads": pads}
        constants = {"w": weights, "b": _random(3 * groups)}
        cases[f"{groups} {strides}"] = Case("ConvTranspose", {"x": _random(1, 4, 5, 7)}, constants, attributes)
        filled = {**attributes, "output_padding": [1, 0]} if max(strides) > 1 else attributes
        cases[f"{groups} {strides} filled"] = Case("ConvTranspose", {"x": _random(1, 4, 5, 7)}, constants, filled)
    check(cases, atol=1e-5)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [0, 1]},
        {"dilations": [1, -1]},
        {"strides": [1]},
        {"pads": [1]},
        {"output_padding": [1]},
        {"output_shape": [7]},
    ],
)
def test_transposed_convolutions_without_a_step_are_refused(attributes: Any) -> None:
    operands = {"x": _random(1, 2, 5, 5)}, {"w": _random(2, 3, 3, 3)}
    with pytest.raises(ModelError, match=r"must be positive|fit 2 spatial dimensions"):
        check({"": Case("ConvTranspose", *operands, attributes, [_random(1, 3, 7, 7)])})


def test_pools() -> None:
    cases = {}
    image = {"x": _random(1, 2, 7)}
    for kernel, stride, pads, ceil in ((3, 2, [1, 1], 1), (5, 3, [2, 0], 1), (8, 2, [0, 0], 1), (9, 5, [0, 1], 1)):
        attributes = {"kernel_shape": [kernel], "strides": [stride], "pads": pads, "ceil_mode": ceil}
        cases[f"maximum {kernel} {stride} {pads}"] = Case("MaxPool", image, {}, attributes)
        for counted in (0, 1):
            averaged = {**attributes, "count_include_pad": counted}
            cases[f"average {kernel} {stride} {pads} {counted}"] = Case("AveragePool", image, {}, averaged)
    for mode in ("SAME_UPPER", "SAME_LOWER"):
        for kernel, stride in ((2, 3), (3, 2), (4, 1), (3, 5)):
            attributes = {"kernel_shape": [kernel], "strides": [stride], "auto_pad": mode}
            cases[f"average {mode} {kernel} {stride}"] = Case("AveragePool", image, {}, attributes)
            cases[f"norm {mode} {kernel} {stride}"] = Case("LpPool", image, {}, attributes)
    check(cases)


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ModelError, match="a window of 4 does not fit"):
        expected = [np.zeros((1, 1, 1), np.float32)]
        check({"": Case("MaxPool", {"x": _random(1, 1, 3)}, {}, {"kernel_shape": [4]}, expected)})


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_padding_and_cutting(mode: str) -> None:
    cases = {}
    for shape, widths in (
        ((5,), [-1, 2]),
        ((5,), [2, -1]),
        ((5,), [-1, 9]),
        ((5,), [-4, 3]),
        ((5,), [7, 9]),
        ((1,), [2, 2]),
        ((4, 5), [1, -1, -1, 2]),
        ((2, 3, 4), [-1, 2, -3, 1, -2, 3]),
    ):
        if mode == "reflect" and max(widths) >= min(shape) + min(0, *widths):  # ONNX Runtime refuses them
            continue
        cases[f"{shape} {widths}"] = Case("Pad", {"x": _random(*shape)}, {"p": np.array(widths)}, {"mode": mode})
    wide = np.arange(5, dtype=np.float32)
    for widths in ([7, 9], [0, 21]):
        expected = [np.pad(wide, [(widths[0], widths[1])], mode=mode)]
        cases[f"wide {widths}"] = Case("Pad", {"x": wide}, {"p": np.array(widths)}, {"mode": mode}, expected)
    check(cases, opset=19, rtol=0, atol=0)


def test_what_wrapping_cuts_does_not_come_back() -> None:
    x = np.arange(5, dtype=np.float32)
    expected = [np.array([1, 2, 3, 4, 1, 2], np.float32)]
    check({"": Case("Pad", {"x": x}, {"p": np.array([-1, 2])}, {"mode": "wrap"}, expected)}, opset=19)


@pytest.mark.parametrize("column_major", [0, 1])
def test_indices_of_maxima(column_major: int) -> None:
    """Of equals the first; infinities and padding apart from each other."""
    x = np.random.default_rng(0).integers(-2, 3, (2, 2, 7, 6)).astype(np.float32)
    x[0, 0, :4, :4] = -np.inf
    cases = {}
    for kernel, stride, pad in ((3, 1, 1), (2, 2, 0), (3, 2, 1), (4, 3, 2)):
        attributes = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [pad] * 4,
            "storage_order": column_major,
        }
        cases[f"{kernel} {stride} {pad}"] = Case("MaxPool", {"x": x}, {}, attributes, outputs=2)
    check(cases, opset=12, rtol=0, atol=0)


@pytest.mark.sweep(3)
@pytest.mark.parametrize(("dtype", "cpu"), [(np.float32, "x86-64"), (np.float32, None), (np.uint8, None)])
def test_indices_of_maxima_in_wide_rows(dtype: Any, cpu: str | None) -> None:
    """Vectors of windows, and what is left of a row."""
    cases = {}
    for width in (7, 48, 61, 160):
        x = np.random.default_rng(width).integers(0, 9, (1, 2, 9, width)).astype(dtype)
        for kernel, stride, pads in ((2, 2, (0, 0)), (3, 2, (1, 0)), (3, 1, (0, 1)), (2, 3, (1, 1))):
            attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pads[0]] * 2 + [pads[1]] * 2}
            cases[f"{width} {kernel} {stride}"] = Case("MaxPool", {"x": x}, {}, attributes, outputs=2)
    check(cases, opset=12, rtol=0, atol=0, cpu=cpu)


def test_an_index_of_nan_lies_inside() -> None:
    x = np.array([1, np.nan, np.nan, 2, 3], np.float32).reshape(1, 1, 5)
    values = np.array([np.nan, np.nan, np.nan, np.nan, 3], np.float32).reshape(1, 1, 5)
    indices = np.array([1, 1, 1, 2, 4]).reshape(1, 1, 5)
    attributes = {"kernel_shape": [3], "pads": [1, 1]}
    check({"": Case("MaxPool", {"x": x}, {}, attributes, [values, indices], outputs=2)}, opset=12)


def test_the_maximum_of_nothing_but_minus_infinity() -> None:
    x = np.full((1, 1, 3, 3, 3, 3), -np.inf, np.float32)  # over four dimensions: a kernel of its own
    kernel = {"kernel_shape": [2] * 4}
    check({"": Case("MaxPool", {"x": x}, {}, kernel, [np.full((1, 1, 2, 2, 2, 2), -np.inf, np.float32)])}, opset=12)

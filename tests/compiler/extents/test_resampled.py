"""Images resized by a ratio of sizes that vary, held to ONNX Runtime at every size that is tried."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from tilewright.errors import UnsupportedError

from ...support.ranged_calls import assert_right
from ...support.small_models import model, node

_RANGES = {"H": (1, 11), "W": (2, 13)}
_SIZES = ((1, 2), (11, 13), (11, 2), (1, 13), (4, 7), (6, 6), (7, 12))


def _resized(height: int, width: int, times: int, *, channels: int = 5, **attributes: Any) -> onnx.ModelProto:
    """An image of any size, resized to so many of its own heights, to another number of columns, or both to it."""
    sizes = ["batch", "channels", "rows", "columns"]
    nodes = [
        node("Shape", ["x"], "shape", "shape"),
        node("Slice", ["shape", "zero", "one"], "batch", "batch"),
        node("Slice", ["shape", "one", "two"], "channels", "channels"),
        node("Slice", ["shape", "two", "three"], "own", "own rows"),
        node("Mul", ["own", "times"], "rows", "rows") if times else node("Identity", ["height"], "rows", "rows"),
        node("Identity", ["width"], "columns", "columns"),
        node("Concat", sizes, "sizes", "sizes", axis=0),
        node("Resize", ["x", "", "", "sizes"], "r", "resize", **attributes),
        node("Relu", ["r"], "y", "relu"),
    ]
    numbers = {"zero": 0, "one": 1, "two": 2, "three": 3, "times": times, "height": height, "width": width}
    constants = {name: np.array([number]) for name, number in numbers.items()}
    border = {"x": ("float32", (2, channels, "H", "W"))}, {"y": ("float32", (2, channels, "h", "w"))}
    return model(nodes, *border, constants)


_WAYS = [
    {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear"},
    {"mode": "cubic", "exclude_outside": 1},
    {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
    {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"},
    {"mode": "nearest"},
    {"mode": "cubic", "coordinate_transformation_mode": "align_corners"},
    {"mode": "linear", "coordinate_transformation_mode": "asymmetric"},
]


@pytest.mark.parametrize(
    ("way", "times"),
    [
        (_WAYS[0], 2),
        (_WAYS[1], 0),
        *(pytest.param(way, times, marks=pytest.mark.slow) for way in _WAYS for times in (0, 1, 2, 3)),
    ],
)
def test_a_ratio_of_sizes(way: dict[str, Any], times: int) -> None:
    proto = _resized(6, 9, times, **way)
    compiled = tilewright.compile(proto, ranges=_RANGES, threads=1)
    for height, width in _SIZES:
        x = np.random.default_rng(height).standard_normal((2, 5, height, width)).astype(np.float32)
        assert_right(compiled, proto, {"x": x})


def test_the_size_of_another_image() -> None:
    """Small features resized to the size of large ones, and added, as in pyramids: channels are what vectors are of."""
    generator = np.random.default_rng(0)
    weights = {name: generator.standard_normal((16, 16, 1, 1)).astype(np.float32) / 4 for name in ("u", "w")}
    nodes = [
        node("Conv", ["x", "w"], "a", "small"),
        node("Conv", ["z", "u"], "b", "large"),
        node("Shape", ["b"], "sizes", "shape"),
        node("Resize", ["a", "", "", "sizes"], "r", "resize", mode="linear"),
        node("Add", ["r", "b"], "y", "sum"),
    ]
    inputs = {"x": ("float32", ("N", 16, "h", "w")), "z": ("float32", ("N", 16, "H", "W"))}
    proto = model(nodes, inputs, {"y": ("float32", ("N", 16, "H", "W"))}, weights)
    ranges = {"N": (1, 2), "h": (1, 6), "w": (1, 6), "H": (2, 10), "W": (3, 10)}
    compiled = tilewright.compile(proto, ranges=ranges, threads=1)
    for batch, small, large in ((1, (1, 1), (10, 10)), (2, (6, 6), (2, 3)), (2, (3, 5), (9, 8)), (1, (4, 4), (4, 4))):
        shapes = {"x": (batch, 16, *small), "z": (batch, 16, *large)}
        assert_right(compiled, proto, {n: generator.standard_normal(s).astype(np.float32) for n, s in shapes.items()})


@pytest.mark.parametrize(
    "way",
    [
        {"mode": "linear", "antialias": 1},
        {"mode": "cubic", "antialias": 1},  # of more terms than are written out
        *(
            pytest.param(way, marks=pytest.mark.slow)
            for way in (
                {"mode": "linear", "antialias": 1, "exclude_outside": 1},
                {"mode": "cubic", "antialias": 1, "coordinate_transformation_mode": "align_corners"},
            )
        ),
    ],
)
def test_as_many_taps_as_a_ratio_says(way: dict[str, Any]) -> None:
    """Larger and smaller than it is: 2 taps to 8."""
    proto = _resized(3, 6, 0, **way)
    compiled = tilewright.compile(proto, ranges=_RANGES, threads=1)
    for height, width in (*_SIZES, (3, 9)):
        x = np.random.default_rng(height).standard_normal((2, 5, height, width)).astype(np.float32)
        assert_right(compiled, proto, {"x": x})


def test_more_taps_than_are_written_out_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="an element may be made of 402 of an axis, more than 64"):
        tilewright.compile(_resized(1, 6, 0, mode="linear", antialias=1), ranges={"H": (1, 200), "W": (2, 13)})


@pytest.mark.parametrize("mode", ["linear", pytest.param("nearest", marks=pytest.mark.slow)])
def test_a_region_of_any_image(mode: str) -> None:
    """But for images of as many rows as the result: of those ONNX Runtime takes all rows, not the region's."""
    proto = _resized(6, 9, 0, mode=mode, coordinate_transformation_mode="tf_crop_and_resize")
    region = np.array([0, 0, 0.25, 0.125, 1, 1, 1, 0.75], np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(region, "region"))
    next(each for each in proto.graph.node if each.op_type == "Resize").input[1] = "region"
    compiled = tilewright.compile(proto, ranges=_RANGES, threads=1)
    for height, width in (each for each in _SIZES if each[0] != 6):
        x = np.random.default_rng(height).standard_normal((2, 5, height, width)).astype(np.float32)
        assert_right(compiled, proto, {"x": x})

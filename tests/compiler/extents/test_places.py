"""Elements at places that a model counts along what varies, as exporters of masks write them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import tilewright
from tilewright.errors import UnsupportedError

from ...support import ranged_models as ranged
from ...support.ranged_calls import assert_right
from ...support.small_models import model, node

_NUMBERS = {name: np.int64(number) for name, number in {"zero": 0, "one": 1, "two": 2, "twenty": 20}.items()}
_VECTORS = {name: np.array([number]) for name, number in {"first": 0, "last": -1}.items()}
_CONSTANTS = {**_NUMBERS, **_VECTORS, "zeros": np.zeros((1, 1), np.int64)}


def _counted(name: str, axis: int) -> list[onnx.NodeProto]:
    """``name``: 0, 1, ... as many as there are along an axis of `x`."""
    return [
        node("Shape", ["x"], f"{name} sizes", f"{name} sizes", start=axis, end=axis + 1),
        node("Squeeze", [f"{name} sizes"], f"{name} size", f"{name} size"),
        node("Range", ["zero", f"{name} size", "one"], name, f"{name} counted"),
    ]


def _of_a_mask() -> onnx.ModelProto:
    """Rows are always the first, and repeated; columns all in order."""
    nodes = [
        *_counted("column", 1),
        node("Unsqueeze", ["column", "first"], "columns", "columns"),
        node("Max", ["columns", "zeros"], "both", "both"),
        node("Shape", ["both"], "s", "shape of both"),
        node("Expand", ["zeros", "s"], "rows", "rows"),
        node("Unsqueeze", ["rows", "last"], "r", "rows as pairs"),
        node("Unsqueeze", ["columns", "last"], "c", "columns as pairs"),
        node("Concat", ["r", "c"], "places", "pairs", axis=-1),
        node("GatherND", ["x", "places"], "y", "gather"),
    ]
    return model(nodes, {"x": ("float32", (1, "S", 3))}, {"y": ("float32", (1, "S", 3))}, _CONSTANTS)


def _of_an_image() -> onnx.ModelProto:
    """Both axes vary; the result is the other way round."""
    nodes = [
        *_counted("row", 0),
        *_counted("column", 1),
        node("Unsqueeze", ["row", "first"], "rows", "rows"),
        node("Unsqueeze", ["column", "last"], "columns", "columns"),
        node("Shape", ["x"], "height width", "sizes", start=0, end=2),
        node("Gather", ["height width", "swap"], "width height", "sizes the other way"),
        node("Expand", ["rows", "width height"], "all rows", "all rows"),
        node("Expand", ["columns", "width height"], "all columns", "all columns"),
        node("Unsqueeze", ["all rows", "last"], "r", "rows as pairs"),
        node("Unsqueeze", ["all columns", "last"], "c", "columns as pairs"),
        node("Concat", ["r", "c"], "places", "pairs", axis=-1),
        node("GatherND", ["x", "places"], "y", "gather"),
    ]
    return model(
        nodes,
        {"x": ("float32", ("H", "W", 3))},
        {"y": ("float32", ("W", "H", 3))},
        {**_CONSTANTS, "swap": np.array([1, 0])},
    )


def _taken(*more: onnx.NodeProto) -> onnx.ModelProto:
    """Elements of `x` at `places`, which `more` computes of `column`."""
    nodes = [*_counted("column", 1), *more, node("Gather", ["x", "places"], "y", "gather", axis=1)]
    return model(nodes, {"x": ("float32", (1, "S", 3))}, {"y": ("float32", (1, "S", 3))}, _CONSTANTS)


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(_of_a_mask(), id="a mask"),
        pytest.param(_taken(node("Sub", ["column", "zero"], "places", "the same")), id="along an axis"),
    ],
)
def test_in_order(proto: onnx.ModelProto) -> None:
    compiled = tilewright.compile(proto, ranges={"S": (1, 21)}, threads=1)
    for tokens in (1, 2, 9, 20, 21):
        assert_right(compiled, proto, ranged.images(proto, tokens, S=tokens))


def test_along_two_axes() -> None:
    proto = _of_an_image()
    compiled = tilewright.compile(proto, ranges={"H": (1, 9), "W": (2, 14)}, threads=1)
    for height, width in ((1, 2), (9, 2), (1, 14), (5, 7), (9, 14)):
        assert_right(compiled, proto, ranged.images(proto, height, H=height, W=width))


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([node("Div", ["column", "two"], "places", "each twice")], id="others"),
        pytest.param(
            [
                node("ReduceMax", ["column"], "end", "end", keepdims=0),
                node("Sub", ["end", "column"], "places", "backwards"),
            ],
            id="from the end",
        ),
        pytest.param(
            [
                node("ReduceMax", ["column"], "end", "end", keepdims=0),
                node("Equal", ["end", "twenty"], "largest", "is it the largest"),
                node("Where", ["largest", "column", "zero"], "places", "in order only there"),
            ],
            id="in order at the largest size alone",
        ),
    ],
)
def test_others_are_refused_or_right(more: list[onnx.NodeProto]) -> None:
    proto = _taken(*more)
    try:
        compiled = tilewright.compile(proto, ranges={"S": (2, 21)}, threads=1)
    except UnsupportedError as error:
        assert "gather" in str(error) or "range" in str(error)
        return
    for tokens in (2, 9, 20, 21):
        assert_right(compiled, proto, ranged.images(proto, tokens, S=tokens))

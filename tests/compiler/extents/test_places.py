"""Elements at places along what varies, and parts of it, as exporters of masks and positions write them."""

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


def _differences() -> onnx.ModelProto:
    """Of each element and the one before, as transformers' decoders look where a text begins among positions."""
    nodes = [
        *_counted("column", 1),
        node("Slice", ["x", "first", "second", "second"], "begin", "begin"),
        node("Concat", ["begin", "x"], "longer", "one more", axis=1),
        node("Slice", ["longer", "first", "column sizes", "second"], "before", "all but the last"),
        node("Add", ["column sizes", "second"], "all", "one more than there are"),
        node("Slice", ["longer", "second", "all", "second"], "after", "all but the first"),
        node("Slice", ["x", "first", "last", "second"], "short", "without the last"),
        node("Sub", ["after", "before"], "y", "difference"),
        node("ReduceSum", ["short", "second"], "z", "sum", keepdims=0),
    ]
    return model(
        nodes,
        {"x": ("float32", (1, "S", 3))},
        {"y": ("float32", (1, "S", 3)), "z": ("float32", (1, 3))},
        {**_CONSTANTS, "second": np.array([1])},
    )


def test_all_but_some_at_the_ends() -> None:
    proto = _differences()
    compiled = tilewright.compile(proto, ranges={"S": (2, 21)}, threads=1)
    for tokens in (2, 3, 9, 20, 21):
        assert_right(compiled, proto, ranged.images(proto, tokens, S=tokens))


def _cropped() -> onnx.ModelProto:
    """Borders of images, of other widths along each axis."""
    nodes = [
        node("Shape", ["x"], "sizes", "sizes", start=2, end=4),
        node("Sub", ["sizes", "after"], "ends", "ends"),
        node("Slice", ["x", "before", "ends", "axes"], "y", "crop"),
    ]
    numbers = {"before": np.array([0, 2]), "after": np.array([1, 1]), "axes": np.array([2, 3])}
    return model(nodes, {"x": ("float32", (1, 3, "H", "W"))}, {"y": ("float32", (1, 3, "H - 1", "W - 3"))}, numbers)


def test_borders() -> None:
    proto = _cropped()
    compiled = tilewright.compile(proto, ranges={"H": (2, 9), "W": (4, 14)}, threads=1)
    for height, width in ((2, 4), (9, 4), (2, 14), (5, 7), (9, 14)):
        assert_right(compiled, proto, ranged.images(proto, height, H=height, W=width))


def test_half_of_what_varies_is_refused() -> None:
    nodes = [
        node("Shape", ["x"], "size", "size", start=1, end=2),
        node("Div", ["size", "halves"], "half", "half"),
        node("Slice", ["x", "first", "half", "one axis"], "y", "first half"),
    ]
    numbers = {"first": np.array([0]), "halves": np.array([2]), "one axis": np.array([1])}
    proto = model(nodes, {"x": ("float32", (1, "S", 3))}, {"y": ("float32", (1, "T", 3))}, numbers)
    with pytest.raises(UnsupportedError, match="which part of a tensor it takes depends on a size"):
        tilewright.compile(proto, ranges={"S": (2, 21)}, threads=1)


def test_a_place_for_each_element() -> None:
    """Along an axis that does not vary, of tensors that do."""
    proto = model(
        [node("GatherElements", ["x", "places"], "y", "gather", axis=2)],
        {"x": ("float32", (2, "S", 5)), "places": ("int64", (2, "S", 7))},
        {"y": ("float32", (2, "S", 7))},
    )
    compiled = tilewright.compile(proto, ranges={"S": (1, 13)}, threads=1)
    for tokens in (1, 2, 7, 13):
        places = np.random.default_rng(tokens).integers(-5, 5, (2, tokens, 7))
        inputs = {
            "x": np.random.default_rng(tokens).standard_normal((2, tokens, 5)).astype(np.float32),
            "places": places,
        }
        assert_right(compiled, proto, inputs)


def test_a_place_for_each_element_in_order() -> None:
    nodes = [
        *_counted("column", 1),
        node("Unsqueeze", ["column", "outer and inner"], "columns", "columns"),
        node("Shape", ["x"], "s", "shape"),
        node("Expand", ["columns", "s"], "places", "places"),
        node("GatherElements", ["x", "places"], "y", "gather", axis=1),
    ]
    constants = {**_CONSTANTS, "outer and inner": np.array([0, 2])}
    proto = model(nodes, {"x": ("float32", (2, "S", 5))}, {"y": ("float32", (2, "S", 5))}, constants)
    compiled = tilewright.compile(proto, ranges={"S": (1, 13)}, threads=1)
    for tokens in (1, 2, 7, 13):
        assert_right(compiled, proto, ranged.images(proto, tokens, S=tokens))


def test_a_place_for_each_element_that_data_says_is_refused() -> None:
    """Places below 0 count from an end that varies."""
    proto = model(
        [node("GatherElements", ["x", "places"], "y", "gather", axis=1)],
        {"x": ("float32", (2, "S", 5)), "places": ("int64", (2, "S", 5))},
        {"y": ("float32", (2, "S", 5))},
    )
    with pytest.raises(UnsupportedError, match="it takes elements along axis 1, which varies"):
        tilewright.compile(proto, ranges={"S": (1, 13)}, threads=1)


def test_positions_of_several_texts() -> None:
    """What does not depend on data is a repetition along the batch: parts of it are, and what is gathered of it."""
    nodes = [
        *_counted("row", 0),
        *_counted("column", 1),
        node("Shape", ["x"], "s", "shape"),
        node("Expand", ["column", "s"], "positions", "positions"),
        node("Slice", ["positions", "first", "second", "second"], "begin", "begin"),
        node("Sub", ["begin", "two"], "before all", "before all"),
        node("Concat", ["before all", "positions"], "longer", "longer", axis=1),
        node("Slice", ["longer", "first", "column sizes", "second"], "before", "all but the last"),
        node("Add", ["column sizes", "second"], "end", "end"),
        node("Slice", ["longer", "second", "end", "second"], "after", "all but the first"),
        node("Sub", ["after", "before"], "steps", "steps"),
        node("CumSum", ["steps", "one"], "sums", "sums"),
        node("Unsqueeze", ["row", "last"], "rows", "rows"),
        node("Expand", ["rows", "s"], "all rows", "all rows"),
        node("Unsqueeze", ["all rows", "last"], "r", "rows as pairs"),
        node("Unsqueeze", ["positions", "last"], "c", "columns as pairs"),
        node("Concat", ["r", "c"], "places", "pairs", axis=-1),
        node("GatherND", ["sums", "places"], "gathered", "gather"),
        node("Cast", ["gathered"], "z", "cast", to=onnx.TensorProto.FLOAT),
        node("Mul", ["x", "z"], "y", "product"),
    ]
    constants = {**_CONSTANTS, "second": np.array([1])}
    proto = model(nodes, {"x": ("float32", ("B", "S"))}, {"y": ("float32", ("B", "S"))}, constants)
    compiled = tilewright.compile(proto, ranges={"B": (1, 3), "S": (2, 21)}, threads=1)
    for texts, tokens in ((1, 2), (3, 2), (1, 21), (2, 9), (3, 21)):
        assert_right(compiled, proto, ranged.images(proto, tokens, B=texts, S=tokens))


def test_places_in_several_dimensions_are_refused_or_right() -> None:
    """The sixth of all elements, row by row, stands elsewhere in a table of other rows."""
    nodes = [node("Reshape", ["x", "last"], "flat", "flat"), node("Gather", ["flat", "sixth"], "y", "sixth", axis=0)]
    constants = {**_CONSTANTS, "sixth": np.array([5, 1])}
    proto = model(nodes, {"x": ("float32", ("B", "S"))}, {"y": ("float32", (2,))}, constants)
    try:
        compiled = tilewright.compile(proto, ranges={"B": (2, 3), "S": (4, 6)}, threads=1)
    except UnsupportedError as error:
        assert "it takes elements along axis 0, which varies" in error.what
        return
    for texts, tokens in ((2, 4), (3, 5), (3, 6)):
        assert_right(compiled, proto, ranged.images(proto, tokens, B=texts, S=tokens))

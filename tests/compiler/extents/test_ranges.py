"""One library for a range of sizes, held to ONNX Runtime at every one that is tried; through C, on poisoned memory."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tilewright
from onnx import parser
from tilewright.compiler.library.dimensions import c_arguments
from tilewright.errors import ShapeError, TensorError, UnsupportedError, UsageError

from ...support import ranged_models as ranged
from ...support.ranged_calls import assert_right
from ...support.small_models import model, node


@pytest.fixture(scope="module")
def batches() -> tilewright.CompiledModel:
    return tilewright.compile(ranged.convolutions(), ranges={"N": (1, 9)}, best={"N": (4,)}, threads=2)


@pytest.mark.parametrize("images", [1, 2, 3, 4, 5, 7, 8, 9])
def test_a_batch(batches: tilewright.CompiledModel, images: int) -> None:
    proto = ranged.convolutions()
    assert_right(batches, proto, ranged.images(proto, images, N=images))


def test_sizes_of_their_own_are_named() -> None:
    with pytest.raises(UsageError, match="no size of 'N' is named"):
        tilewright.compile(ranged.convolutions(), ranges={"N": (1, 9)}, best={"N": ()})


def test_sizes_of_their_own_share_weights_and_have_their_kernels(batches: tilewright.CompiledModel) -> None:
    alone = tilewright.compile(ranged.convolutions(), shapes={"x": (4, 3, 18, 18)}, threads=2)
    names = {kernel.symbol.split("_", 2)[2] for kernel in batches.signature.kernels}
    assert any(name.startswith("best0") for name in names)
    assert batches.signature.weights_bytes < 2 * alone.signature.weights_bytes
    inputs = ranged.images(ranged.convolutions(), 0, N=4)
    assert np.array_equal(batches.run(inputs)["y"], alone.run(inputs)["y"])


@pytest.mark.parametrize("images", [-1, 0, 10, 1 << 40])
def test_a_size_outside_is_an_error_and_nothing_is_written(batches: tilewright.CompiledModel, images: int) -> None:
    inputs = ranged.images(ranged.convolutions(), 0, N=9)
    sizes = {"N": images}
    outputs = np.full(90, 7, np.float32)
    workspace = np.full(batches.workspace_bytes + 64, 0x5A, np.uint8)
    status = batches.c_function(
        (ctypes.c_void_p * 1)(inputs["x"].ctypes.data),
        (ctypes.c_void_p * 1)(outputs.ctypes.data),
        ctypes.c_void_p(-(-workspace.ctypes.data // 64) * 64),
        *c_arguments(batches.signature, sizes),
    )
    assert status == 5 and (outputs == 7).all() and (workspace == 0x5A).all()


def test_python_tells_of_sizes_outside(batches: tilewright.CompiledModel) -> None:
    with pytest.raises(TensorError, match="axis 0 of input 'x' is 10, and the library takes N: 1 to 9"):
        batches.run(ranged.images(ranged.convolutions(), 0, N=10))
    with pytest.raises(TensorError, match="axis 3 of input 'x' is 17, and the library takes 18"):
        batches.run({"x": np.zeros((2, 3, 18, 17), np.float32)})


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_sequence(batch: int) -> None:
    proto = ranged.encoder(batch=batch)
    compiled = tilewright.compile(proto, ranges={"S": (1, 32)}, threads=1)
    for tokens in (1, 2, 7, 13, 16, 20, 31, 32):
        assert_right(compiled, proto, ranged.encoder_inputs(batch, tokens, tokens))


@pytest.mark.slow
def test_a_batch_of_sequences() -> None:
    proto = ranged.encoder()
    compiled = tilewright.compile(proto, ranges={"B": (1, 3), "S": (1, 32)}, best={"S": (16,)}, threads=2)
    for batch, tokens in ((1, 1), (3, 1), (1, 32), (2, 7), (3, 13), (3, 16), (2, 31), (3, 32)):
        assert_right(compiled, proto, ranged.encoder_inputs(batch, tokens, tokens))


def test_height_and_width() -> None:
    proto = ranged.convolutions(images=1, height="H", width="W", head=False)
    compiled = tilewright.compile(proto, ranges={"H": (3, 30), "W": (4, 26)}, threads=1)
    for height, width in ((3, 4), (3, 26), (30, 4), (17, 13), (8, 8), (29, 25), (16, 9), (30, 26)):
        assert_right(compiled, proto, ranged.images(proto, height, H=height, W=width))


@pytest.mark.slow
def test_sizes_in_arithmetic_and_a_mean_over_what_is_there() -> None:
    proto = ranged.convolutions(images=2, height="h", width="w")
    shape = (2, 3, "4*H", "2*W+1")
    compiled = tilewright.compile(proto, shapes={"x": shape}, ranges={"H": (1, 7), "W": (1, 12)}, threads=1)
    for height, width in ((1, 1), (7, 1), (1, 12), (3, 5), (7, 12)):
        assert_right(compiled, proto, ranged.images(proto, height, h=4 * height, w=2 * width + 1))


_MODELS = Path(__file__).parents[2] / "models"
_NETWORKS = ("convnext", "densenet", "edsr", "efficientnet", "mobilenet_v2", "mobilenet_v3", "regnet", "resnet_basic")


@pytest.mark.slow
@pytest.mark.parametrize("name", [*_NETWORKS, "inception_v3", "squeezenet", "vgg", "yolox"])
def test_batches_of_networks(name: str) -> None:
    proto = ranged.with_dimensions(onnx.load(_MODELS / f"{name}.onnx"), {0: "N"})
    compiled = tilewright.compile(proto, ranges={"N": (1, 4)}, threads=2)
    for images in (4, 1, 3):
        assert_right(compiled, proto, ranged.images(proto, images, N=images), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", _NETWORKS)
def test_images_of_networks(name: str) -> None:
    proto = ranged.with_dimensions(onnx.load(_MODELS / f"{name}.onnx"), {2: "H", 3: "W"})
    (given,) = onnx.load(_MODELS / f"{name}.onnx").graph.input
    side = given.type.tensor_type.shape.dim[3].dim_value
    ranges = {"H": (side // 2, side + 9), "W": (side // 2, side + 7)}
    compiled = tilewright.compile(proto, ranges=ranges, threads=2)
    for height, width in ((side + 9, side + 7), (side // 2, side // 2), (side, side - 3), (side - 5, side + 2)):
        assert_right(compiled, proto, ranged.images(proto, height, H=height, W=width), 1e-4)


def _last_tokens() -> onnx.ModelProto:
    """The last one, and the two before."""
    nodes = [
        node("Gather", ["x", "last"], "y", "last token", axis=1),
        node("Slice", ["x", "from", "to", "axis"], "z", "before"),
    ]
    border = {"y": ("float32", (2, 8)), "z": ("float32", (2, 2, 8))}
    numbers = {"last": np.int64(-1), "from": np.array([-3]), "to": np.array([-1]), "axis": np.array([1])}
    return model(nodes, {"x": ("float32", (2, "S", 8))}, border, numbers)


def test_what_is_counted_from_the_end() -> None:
    proto = _last_tokens()
    compiled = tilewright.compile(proto, ranges={"S": (3, 16)}, threads=1)
    for tokens in (3, 4, 9, 16):
        assert_right(compiled, proto, ranged.images(proto, tokens, S=tokens))


def test_images_that_grow_again() -> None:
    proto = ranged.decoder()
    compiled = tilewright.compile(proto, ranges={"H": (4, 21), "W": (5, 30)}, threads=1)
    for height, width in ((4, 5), (21, 5), (4, 30), (12, 17), (9, 8), (21, 30)):
        assert_right(compiled, proto, ranged.images(proto, height, H=height, W=width))


@pytest.mark.parametrize(
    ("operator", "gates", "direction"),
    [
        ("LSTM", 4, "bidirectional"),
        *(pytest.param(*row, "reverse", marks=pytest.mark.slow) for row in (("GRU", 3), ("RNN", 1))),
    ],
)
def test_a_recurrent_layer(operator: str, gates: int, direction: str) -> None:
    proto = ranged.listener(operator=operator, gates=gates, direction=direction)
    compiled = tilewright.compile(proto, ranges={"T": (1, 13), "B": (1, 3)}, threads=1)
    for steps, batch in ((1, 1), (13, 1), (1, 3), (7, 2), (12, 3), (13, 3)):
        assert_right(compiled, proto, ranged.images(proto, steps, T=steps, B=batch))


def _takes_the_middle() -> onnx.ModelProto:
    nodes = [
        node("Shape", ["x"], "s", "shape", start=1, end=2),
        node("Div", ["s", "two"], "half", "half"),
        node("Gather", ["x", "half"], "y", "middle", axis=1),
    ]
    return model(
        nodes, {"x": ("float32", (1, "S", 8))}, {"y": ("float32", (1, 1, 8))}, {"two": np.array([2], np.int64)}
    )


def _divides_by_the_length() -> onnx.ModelProto:
    nodes = [
        node("Shape", ["x"], "s", "shape", start=1, end=2),
        node("Cast", ["s"], "f", "cast", to=onnx.TensorProto.FLOAT),
        node("Div", ["x", "f"], "y", "by length"),
    ]
    return model(nodes, {"x": ("float32", (1, "S", 8))}, {"y": ("float32", (1, "S", 8))})


def _sums_a_repetition() -> onnx.ModelProto:
    nodes = [
        node("Shape", ["x"], "s", "shape"),
        node("Expand", ["c", "s"], "e", "repeated"),
        node("ReduceSum", ["e", "axis"], "r", "summed", keepdims=0),
        node("Add", ["x", "r"], "y", "added"),
    ]
    return model(
        nodes,
        {"x": ("float32", (1, "S", 8)), "c": ("float32", (1, 1, 8))},
        {"y": ("float32", (1, "S", 8))},
        {"axis": np.array([1])},
    )


def _sorts() -> onnx.ModelProto:
    nodes = [node("NonZero", ["x"], "y", "places")]
    return model(nodes, {"x": ("float32", (1, "S", 8))}, {"y": ("int64", (3, "K"))})


@pytest.mark.parametrize(
    ("proto", "named"),
    [
        (_takes_the_middle(), "middle"),
        (_divides_by_the_length(), "by length"),
        (_sums_a_repetition(), "summed"),
        (_sorts(), "sizes"),
    ],
)
def test_what_would_be_wrong_is_refused(proto: onnx.ModelProto, named: str) -> None:
    with pytest.raises(UnsupportedError, match="range of sizes") as caught:
        tilewright.compile(proto, ranges={"S": (1, 16)}, threads=1)
    assert named in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ranges": {"N": (0, 4)}}, "no elements"),
        ({"ranges": {"N": (5, 4)}}, "5..4 is no range"),
        ({"ranges": {"N": (1, 4), "M": (1, 2)}}, "no input has a dimension 'M'"),
        ({"ranges": {"N": (1, 4)}, "best": {"N": (5,)}}, "5 is outside of the range"),
        ({"ranges": {"N": (1, 4)}, "best": {"K": (1,)}}, "there is no dimension 'K'"),
        ({"best": {"N": (1,)}}, "within a range"),
        ({"shapes": {"x": ("N", 3, 18, 18)}}, "'N', which is no dimension"),
        ({"shapes": {"x": ("N-4", 3, 18, 18)}, "ranges": {"N": (1, 4)}}, "no elements"),
    ],
)
def test_what_options_cannot_say(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        tilewright.compile(ranged.convolutions(), threads=1, **options)


@pytest.mark.parametrize("ceil", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_means_of_what_windows_have_of_an_image(ceil: int) -> None:
    """Windows that hang over the ends, of which as many elements count as there are."""
    nodes = [
        node("AveragePool", ["x"], "a", "large", kernel_shape=[3, 4], pads=[1, 2, 1, 1], strides=[1, 2]),
        node("AveragePool", ["a"], "b", "small", kernel_shape=[2, 3], pads=[1, 1, 0, 1], ceil_mode=ceil),
        node("Relu", ["b"], "y", "relu"),
    ]
    proto = model(nodes, {"x": ("float32", ("N", 5, "H", "W"))}, {"y": ("float32", ("N", 5, "h", "w"))})
    compiled = tilewright.compile(proto, ranges={"N": (1, 3), "H": (1, 11), "W": (2, 13)}, threads=1)
    for images, height, width in ((1, 1, 2), (3, 11, 13), (3, 1, 13), (1, 11, 2), (2, 4, 7), (1, 8, 8), (3, 2, 3)):
        assert_right(compiled, proto, ranged.images(proto, height, N=images, H=height, W=width))


def test_a_range_that_begins_too_early() -> None:
    pool = node("MaxPool", ["x"], "y", "large windows", kernel_shape=[2, 5])
    small = model([pool], {"x": ("float32", (1, 3, "H", 18))}, {"y": ("float32", (1, 3, "h", 14))})
    with pytest.raises(ShapeError, match=r"at the lower ends of the ranges \(H=1\) the model fails"):
        tilewright.compile(small, ranges={"H": (1, 18)}, threads=1)


@pytest.mark.parametrize(
    "call", ["ReduceMean <axes = [1], keepdims = 0> (x)", "ReduceMax <axes = [1], keepdims = 0> (x)"]
)
def test_rows_by_whole_vectors(call: str) -> None:
    """Of 64 numbers at most: as many as the lanes of some registers, of which the last are not there."""
    proto = parser.parse_model(f"""<ir_version: 8, opset_import: ["":17]>
        graph (float[B,S] x) => (float[B] y) {{ y = {call} }}""")
    compiled = tilewright.compile(proto, ranges={"B": (1, 4), "S": (1, 64)}, threads=1)
    for batch, length in ((1, 1), (4, 64), (3, 17), (2, 63), (4, 48)):
        x = np.random.default_rng(length).standard_normal((batch, length)).astype(np.float32)
        assert_right(compiled, proto, {"x": x})

"""What a model declares is measured before anything of that size is made: a message, at once, in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from models import model, tensor
from onnx import helper
from tilewright import frontends
from tilewright.errors import CompilerError, ModelError, ShapeError, TilewrightError, UnsupportedError
from tilewright.frontends.onnx.limits import DEEPEST_NESTING, LARGEST_GRAPH, LARGEST_TENSOR

_HUGE = 1 << 40
_MOST_BYTES = 64 << 20  # of Python's memory, numpy's included


def _one(
    op_type: str,
    *weights: Any,
    opset: int = 18,
    shape: tuple[int, ...] = (1, 2, 8, 8),
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node on x and weights."""
    arrays = {f"w{index}": np.asarray(array) for index, array in enumerate(weights) if array is not None}
    places = ["" if array is None else f"w{index}" for index, array in enumerate(weights)]
    names = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(op_type, ["x", *places], names, name="it", **attributes)
    return model([node], [tensor("x", shape)], [onnx.ValueInfoProto(name=name) for name in names], arrays, opset=opset)


def _made(op_type: str, *weights: Any, opset: int = 18) -> onnx.ModelProto:
    """x + the result of a node on weights alone."""
    arrays = {f"w{index}": np.asarray(array) for index, array in enumerate(weights)}
    nodes = [
        helper.make_node(op_type, list(arrays), ["made"], name="it"),
        helper.make_node("Add", ["x", "made"], ["y"], name="sum"),
    ]
    return model(nodes, [tensor("x", [1])], [tensor("y", None)], arrays, opset=opset)


_FILTER = np.ones((2, 2, 3, 3), np.float32)
_SCALES = np.array([1, 1, 1e8, 1], np.float32)
_LONG_SCALES = np.array([1, 1, 1, 3e6], np.float32)

_TOO_LARGE: dict[str, Callable[[], onnx.ModelProto]] = {
    "pads of a convolution": lambda: _one("Conv", _FILTER, pads=[10**5] * 4),
    "pads of a dilated convolution": lambda: _one("Conv", _FILTER, dilations=[10**9, 1], pads=[10**9, 1, 10**9, 1]),
    "pads beyond 64 bits": lambda: _one("Conv", _FILTER, pads=[2**62] * 4),
    "a transposed convolution's stride": lambda: _one("ConvTranspose", _FILTER, strides=[10**6, 10**6]),
    "a transposed convolution's shape": lambda: _one("ConvTranspose", _FILTER, output_shape=[10**9, 10**9]),
    "pads of a pool": lambda: _one("MaxPool", kernel_shape=[3, 3], pads=[10**5] * 4),
    "a pool's window": lambda: _one("AveragePool", kernel_shape=[10**5] * 2, pads=[10**5 - 1] * 4),
    "repeats": lambda: _one("Tile", np.array([1, 1, 2**31, 1])),
    "repeats whose product is 0 modulo 2^64": lambda: _one("Tile", np.array([2**32, 2**32, 1, 1])),
    "an expansion": lambda: _one("Expand", np.array([_HUGE, 1, 2, 8, 8])),
    "a constant's shape": lambda: _made("ConstantOfShape", np.array([_HUGE])),
    "a range": lambda: _made("Range", np.float32(0), np.float32(1e12), np.float32(1)),
    "a range of 64 bits": lambda: _made("Range", np.int64(-(2**63)), np.int64(2**63 - 1), np.int64(1)),
    "a window of samples": lambda: _made("HannWindow", np.int64(_HUGE)),
    "a matrix of mel weights": lambda: _made(
        "MelWeightMatrix", np.int64(_HUGE), np.int64(_HUGE), np.int64(8000), np.float32(0), np.float32(4000)
    ),
    "sizes of an image": lambda: _one("Resize", None, None, np.array([1, 2, _HUGE, 8]), mode="linear"),
    "scales of an image": lambda: _one("Resize", None, _SCALES, mode="cubic"),
    "a long table of positions": lambda: _one("Resize", None, _LONG_SCALES, shape=(1, 1, 1, 8), mode="nearest"),
    "scales of an upsampling": lambda: _one("Upsample", opset=7, scales=[1.0, 1.0, 1e9, 1e9]),
    "pads": lambda: _one("Pad", np.full(8, 10**5)),
    "pads by attributes": lambda: _one("Pad", opset=7, pads=[10**9] * 8),
    "outputs of a split": lambda: _one("Split", num_outputs=_HUGE, outputs=2),
    "sizes of a split": lambda: _one("Split", np.array([_HUGE, 2 - _HUGE]), axis=1, outputs=2),
    "a depth": lambda: _one("OneHot", np.int64(_HUGE), np.array([0, 1], np.float32)),
    "an image from columns": lambda: _one("Col2Im", np.array([_HUGE] * 2), np.array([2, 2]), shape=(1, 4, 1)),
    "an output's shape": lambda: _one(
        "MaxUnpool", np.zeros((1, 2, 8, 8), np.int64), np.array([1, 2, _HUGE, 8]), kernel_shape=[2, 2]
    ),
    "rows gathered": lambda: _made("Gather", np.zeros((1, 10**5), np.float32), np.zeros(10**5, np.int64)),
    "dimensions": lambda: _one("Unsqueeze", np.arange(1000)),
    "an image cut out": lambda: _one("CenterCropPad", np.array([2**30, 2**30, 1, 1])),
}


@pytest.mark.parametrize("make", _TOO_LARGE.values(), ids=_TOO_LARGE.keys())
def test_sizes_are_refused_before_memory_is_taken(make: Callable[[], onnx.ModelProto]) -> None:
    proto = make()
    tracemalloc.start()
    try:
        with pytest.raises(TilewrightError) as caught:
            frontends.load(frontends.open(proto))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not isinstance(caught.value, CompilerError)
    assert "node 'it'" in str(caught.value.where)
    assert peak < _MOST_BYTES


@pytest.mark.parametrize("shape", [(LARGEST_TENSOR + 1,), (1 << 32, 1 << 32), (0, 1 << 62), (1,) * 33])
def test_inputs_that_are_too_large(shape: tuple[int, ...]) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], [tensor("x", None)], [tensor("y", None)])
    with pytest.raises(ShapeError, match=r"the largest|the most") as caught:
        frontends.load(frontends.open(proto), shapes={"x": shape})
    assert "input 'x'" in str(caught.value.where)


def test_weights_that_declare_more_than_they_hold() -> None:
    proto = model(
        [helper.make_node("Add", ["x", "w"], ["y"])], [tensor("x", [2])], [tensor("y", [2])], {"w": np.ones(2)}
    )
    for dims, message in (
        ([1 << 60], "the largest"),
        ([1 << 32, 1 << 32], "the largest"),
        ([3], "takes 24"),
        ([-2], "negative"),
    ):
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        with pytest.raises((ModelError, UnsupportedError), match=message) as caught:
            frontends.load(frontends.open(proto))
        assert "initializer 'w'" in str(caught.value.where)


def nested_calls(depth: int, calls: int) -> onnx.ModelProto:
    """Functions that call the one before them `calls` times in a row."""
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("own", 1)]
    functions = []
    for level in range(depth):
        names = ["a", *(f"t{index}" for index in range(calls - 1)), "b"]
        body = [helper.make_node(f"F{level - 1}", [given], [made], domain="own") for given, made in pairwise(names)]
        if level == 0:
            body = [helper.make_node("Relu", ["a"], ["b"])]
        functions.append(helper.make_function("own", f"F{level}", ["a"], ["b"], body, opsets))
    node = helper.make_node(f"F{depth - 1}", ["x"], ["y"], domain="own")
    return model([node], [tensor("x", [2])], [tensor("y", [2])], functions=functions, domains=["own"])


def test_functions_that_multiply() -> None:
    with pytest.raises(UnsupportedError, match=f"1,073,741,824 nodes.*{LARGEST_GRAPH:,}"):
        frontends.load(frontends.open(nested_calls(31, 2)))
    assert len(frontends.load(frontends.open(nested_calls(6, 2))).module["main"].body.blocks[0].bindings) >= 32


def test_functions_that_are_nested_deeply() -> None:
    frontends.load(frontends.open(nested_calls(DEEPEST_NESTING, 1)))
    for depth in (DEEPEST_NESTING + 1, 3000):
        with pytest.raises(UnsupportedError, match=f"{depth} deep"):
            frontends.load(frontends.open(nested_calls(depth, 1)))


def test_wide_and_deep_graphs_take_a_moment() -> None:
    """Linear in the number of nodes: a hundred thousand comparisons a node would show."""
    chain = [helper.make_node("Relu", [f"a{index}"], [f"a{index + 1}"]) for index in range(3000)]
    parts = [helper.make_node("Neg", ["a3000"], [f"p{index}"]) for index in range(3000)]
    joined = helper.make_node("Concat", [f"p{index}" for index in range(3000)], ["y"], axis=0)
    proto = model([*chain, *parts, joined], [tensor("a0", [2])], [tensor("y", None)])
    assert len(frontends.load(frontends.open(proto)).module["main"].body.blocks[0].bindings) >= 6001

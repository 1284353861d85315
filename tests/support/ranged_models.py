"""Small networks whose sizes vary: a batch, a sequence, height and width; with the shape arithmetic of exporters."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .small_models import model, node

Array = np.ndarray[Any, Any]


class _Weights:
    """Random weights by name."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self.arrays: dict[str, Array] = {}

    def __call__(self, name: str, *shape: int) -> str:
        fan = int(np.prod(shape[1:])) if len(shape) > 1 else 4
        self.arrays[name] = (self._generator.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)
        return name

    def number(self, name: str, value: Any) -> str:
        self.arrays[name] = np.asarray(value)
        return name


def convolutions(
    *, images: int | str = "N", height: int | str = 18, width: int | str = 18, head: bool = True
) -> onnx.ModelProto:
    """A residual block behind a strided one, a depthwise convolution, pools; classes, or images, larger again."""
    w = _Weights(3)
    nodes = [
        node("Conv", ["x", w("w0", 20, 3, 3, 3), w("b0", 20)], "a", "first", pads=[1] * 4, strides=[2, 2]),
        node("Relu", ["a"], "b", "first relu"),
        node("MaxPool", ["b"], "c", "pool", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
        node("Conv", ["c", w("w1", 20, 20, 3, 3), w("b1", 20)], "d", "second", pads=[1] * 4),
        node("Relu", ["d"], "e", "second relu"),
        node("Conv", ["e", w("w2", 20, 20, 1, 1), w("b2", 20)], "f", "pointwise"),
        node("Add", ["f", "c"], "g", "residual"),
        node("Conv", ["g", w("w3", 20, 1, 5, 5), w("b3", 20)], "h", "depthwise", pads=[2] * 4, group=20),
        node("Clip", ["h", w.number("low", np.float32(0)), w.number("high", np.float32(6))], "i", "relu6"),
    ]
    if not head:
        scales, how = w.number("scales", np.array([1, 1, 2, 2], np.float32)), "asymmetric"
        nodes += [
            node("Resize", ["i", "", scales], "u", "resize", coordinate_transformation_mode=how, nearest_mode="floor"),
            node("Conv", ["u", w("w4", 5, 20, 3, 3), w("b4", 5)], "y", "classifier", pads=[1] * 4),
        ]
        return model(
            nodes, {"x": ("float32", (images, 3, height, width))}, {"y": ("float32", (images, 5, "h", "w"))}, w.arrays
        )
    nodes += [
        node("GlobalAveragePool", ["i"], "j", "mean"),
        node("Flatten", ["j"], "k", "flatten", axis=1),
        node("Gemm", ["k", w("w5", 10, 20), w("b5", 10)], "l", "dense", transB=1),
        node("Softmax", ["l"], "y", "softmax", axis=-1),
    ]
    return model(nodes, {"x": ("float32", (images, 3, height, width))}, {"y": ("float32", (images, 10))}, w.arrays)


def encoder(*, batch: int | str = "B", tokens: int | str = "S", positions: int = 48) -> onnx.ModelProto:
    """One layer of a transformer with a mask of keys, shapes computed as exporters do, and a mean of tokens."""
    w, width, heads = _Weights(5), 24, 3
    depth = width // heads

    def split(name: str) -> list[onnx.NodeProto]:
        return [
            node("MatMul", ["n", w(f"w{name}", width, width)], f"{name}0", f"{name} product"),
            node("Add", [f"{name}0", w(f"b{name}", width)], f"{name}1", f"{name} bias"),
            node("Reshape", [f"{name}1", "split"], f"{name}2", f"{name} heads"),
            node(
                "Transpose",
                [f"{name}2"],
                name,
                f"{name} transposed",
                perm=[0, 2, 3, 1] if name == "k" else [0, 2, 1, 3],
            ),
        ]

    nodes = [
        node("Shape", ["ids"], "shape", "shape"),
        node("Gather", ["shape", w.number("zero", np.int64(0))], "batch", "batch"),
        node("Gather", ["shape", w.number("one", np.int64(1))], "tokens", "tokens"),
        node("Unsqueeze", ["batch", w.number("first", np.array([0]))], "batch1", "batch1"),
        node("Unsqueeze", ["tokens", "first"], "tokens1", "tokens1"),
        node(
            "Concat", ["batch1", "tokens1", w.number("parts", np.array([heads, depth]))], "split", "split shape", axis=0
        ),
        node("Concat", ["batch1", "tokens1", w.number("width", np.array([width]))], "join", "joined shape", axis=0),
        node(
            "Slice",
            [w("positions", 1, positions, width), "first", "tokens1", w.number("axis", np.array([1]))],
            "p",
            "positions",
        ),
        node("Gather", [w("table", 50, width), "ids"], "t", "lookup"),
        node("Add", ["t", "p"], "x", "embedded"),
        node("LayerNormalization", ["x", w("g", width), w("s", width)], "n", "norm", axis=-1),
        *split("q"),
        *split("k"),
        *split("v"),
        node("MatMul", ["q", "k"], "scores0", "scores"),
        node("Mul", ["scores0", w.number("scale", np.float32(depth**-0.5))], "scores1", "scaled"),
        node("Cast", ["mask"], "m0", "mask as float", to=onnx.TensorProto.FLOAT),
        node("Sub", [w.number("unit", np.float32(1)), "m0"], "m1", "inverted"),
        node("Mul", ["m1", w.number("far", np.float32(-1e4))], "m2", "far"),
        node("Unsqueeze", ["m2", w.number("lead", np.array([1, 2]))], "m3", "mask of heads"),
        node("Add", ["scores1", "m3"], "scores2", "masked"),
        node("Softmax", ["scores2"], "probabilities", "softmax", axis=-1),
        node("MatMul", ["probabilities", "v"], "o0", "attended"),
        node("Transpose", ["o0"], "o1", "heads last", perm=[0, 2, 1, 3]),
        node("Reshape", ["o1", "join"], "o2", "heads joined"),
        node("MatMul", ["o2", w("wo", width, width)], "o3", "output"),
        node("Add", ["o3", "x"], "r", "residual"),
        node("MatMul", ["r", w("w1", width, 40)], "f0", "wider"),
        node("Gelu", ["f0"], "f1", "gelu"),
        node("MatMul", ["f1", w("w2", 40, width)], "f2", "narrower"),
        node("Add", ["f2", "r"], "y", "hidden"),
        node("ReduceMean", ["y", "axis"], "pooled", "mean of tokens", keepdims=0),
    ]
    return model(
        nodes,
        {"ids": ("int64", (batch, tokens)), "mask": ("int64", (batch, tokens))},
        {"y": ("float32", (batch, tokens, width)), "pooled": ("float32", (batch, width))},
        w.arrays,
    )


def encoder_inputs(batch: int, tokens: int, seed: int) -> dict[str, Array]:
    """Tokens, and a mask that hides the end of the last text where it has one."""
    generator = np.random.default_rng(seed)
    mask = np.ones((batch, tokens), np.int64)
    mask[-1, max(1, tokens - 2) :] = 0
    return {"ids": generator.integers(0, 50, (batch, tokens)), "mask": mask}


def images(model_of: onnx.ModelProto, seed: int, **sizes: int) -> dict[str, Array]:
    """Normal noise for the only input, whose dimensions have these sizes."""
    (given,) = model_of.graph.input
    shape = [sizes.get(dim.dim_param, dim.dim_value) for dim in given.type.tensor_type.shape.dim]
    return {given.name: np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}


def with_dimensions(proto: onnx.ModelProto, names: dict[int, str]) -> onnx.ModelProto:
    """A model whose only input has names for the sizes of some axes; shapes that fix the first axis no longer do."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    (given,) = made.graph.input
    batch = given.type.tensor_type.shape.dim[0].dim_value
    for axis, name in names.items():
        given.type.tensor_type.shape.dim[axis].dim_param = name
    for output in made.graph.output:
        for number, dim in enumerate(output.type.tensor_type.shape.dim):
            dim.dim_param = f"{output.name}_{number}"
    del made.graph.value_info[:]
    shapes = {each.input[1] for each in made.graph.node if each.op_type == "Reshape"}
    for weight in made.graph.initializer if 0 in names else ():
        array = numpy_helper.to_array(weight).copy()
        if weight.name in shapes and len(array) > 1 and array[0] == batch and -1 not in array:
            array[0] = -1
            weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    return made


def decoder() -> onnx.ModelProto:
    """Pools that count incomplete windows, convolutions that double an image in two ways, and linear weights."""
    w = _Weights(7)
    scales = w.number("scales", np.array([1, 1, 2, 2], np.float32))
    nodes = [
        node("Conv", ["x", w("w0", 9, 3, 3, 3), w("b0", 9)], "a", "first", pads=[1] * 4),
        node("MaxPool", ["a"], "b", "pool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
        node("ConvTranspose", ["b", w("w1", 9, 6, 2, 2), w("b1", 6)], "c", "blocks", strides=[2, 2]),
        node("Relu", ["c"], "d", "relu"),
        node("ConvTranspose", ["b", w("w2", 9, 6, 3, 3)], "e", "overlapping", strides=[2, 2], pads=[1, 1, 0, 0]),
        node("Add", ["d", "e"], "f", "sum"),
        node("Resize", ["f", "", scales], "g", "linear", mode="linear"),
        node("GlobalAveragePool", ["f"], "m", "mean"),
        node("Mul", ["g", "m"], "y", "scaled"),
    ]
    return model(nodes, {"x": ("float32", (1, 3, "H", "W"))}, {"y": ("float32", (1, 6, "h", "w"))}, w.arrays)


def listener(*, operator: str = "LSTM", gates: int = 4, direction: str = "bidirectional") -> onnx.ModelProto:
    """A recurrent layer over a sequence of any length, and its last element and state."""
    w, size, hidden, directions = _Weights(9), 6, 12, 2 if direction == "bidirectional" else 1
    weights = [
        w("w", directions, gates * hidden, size),
        w("r", directions, gates * hidden, hidden),
        w("b", directions, 2 * gates * hidden),
    ]
    recurrent = helper.make_node(
        operator, ["x", *weights], ["every", "last"], "layer", hidden_size=hidden, direction=direction
    )
    nodes = [recurrent, node("Gather", ["every", w.number("end", np.int64(-1))], "y", "last of all")]
    return model(
        nodes,
        {"x": ("float32", ("T", "B", size))},
        dict.fromkeys(("y", "last"), ("float32", (directions, "B", hidden))),
        w.arrays,
    )

"""Layers to tune, each a row: convolutions, products, depthwise ones, reductions and attention of any size, as ONNX."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

OPSET = 20
_MOST_FLOPS = 300e6  # of a random layer: a millisecond or two
_LEAST_FLOPS = 0.5e6


@dataclass(frozen=True)
class Layer:
    """One operator of given sizes.

    Attributes:
        name: for tables, and for the tensors of a model.
        kind: a key of `_NODES`.
        sizes: what that kind takes.
    """

    name: str
    kind: str
    sizes: tuple[int, ...]


def convolution(
    channels: int, size: int, outputs: int, kernel: int = 1, *, stride: int = 1, dilation: int = 1, groups: int = 1
) -> Layer:
    """Of one image of size x size."""
    tail = "".join(f" {word}{value}" for word, value in (("s", stride), ("d", dilation), ("g", groups)) if value > 1)
    name = f"conv {kernel}x{kernel} {channels}->{outputs} {size}x{size}{tail}"
    return Layer(name, "conv", (channels, size, outputs, kernel, stride, dilation, groups))


def product(rows: int, columns: int, depth: int, batch: int = 1, *, constant: bool = True) -> Layer:
    """(batch x) rows x depth by depth x columns; a constant right operand is packed when compiling."""
    name = f"matmul {f'{batch}x' if batch > 1 else ''}{rows}x{columns}x{depth}{'' if constant else ' both vary'}"
    return Layer(name, "matmul", (rows, columns, depth, batch, int(constant)))


def softmax(rows: int, length: int) -> Layer:
    """Of rows."""
    return Layer(f"softmax {rows}x{length}", "softmax", (rows, length))


def layer_norm(rows: int, length: int) -> Layer:
    """Of rows."""
    return Layer(f"layer norm {rows}x{length}", "layer_norm", (rows, length))


def max_pool(channels: int, size: int, kernel: int, stride: int) -> Layer:
    """Of one image."""
    return Layer(
        f"max pool {kernel}x{kernel} {channels} {size}x{size} s{stride}", "pool", (channels, size, kernel, stride)
    )


def attention(heads: int, tokens: int, depth: int) -> Layer:
    """Of one image or sentence."""
    return Layer(f"attention {heads}x{tokens}x{depth}", "attention", (heads, tokens, depth))


class _Model:
    """Nodes that are added to a graph."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def input(self, name: str, shape: Sequence[int]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape)))
        return name

    def output(self, name: str) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))

    def weights(self, name: str, shape: Sequence[int]) -> str:
        fan_in = max(1, int(np.prod(shape)) // shape[-1 if len(shape) < 4 else 0])
        values = (self._random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], output, **attributes))
        return output


def _conv(model: _Model, name: str, sizes: Sequence[int]) -> str:
    channels, size, outputs, kernel, stride, dilation, groups = sizes
    x = model.input(f"{name}.x", (1, channels, size, size))
    w = model.weights(f"{name}.w", (outputs, channels // groups, kernel, kernel))
    pad = dilation * (kernel // 2)
    options = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": [pad] * 4, "group": groups}
    y = model.node("Conv", (x, w, model.weights(f"{name}.b", (outputs,))), f"{name}.c", **options)
    return model.node("Relu", (y,), f"{name}.y")


def _matmul(model: _Model, name: str, sizes: Sequence[int]) -> str:
    rows, columns, depth, batch, constant = sizes
    lead = (batch,) if batch > 1 else ()
    a = model.input(f"{name}.a", (*lead, rows, depth))
    b = (model.weights if constant else model.input)(f"{name}.b", (*lead, depth, columns))
    return model.node("MatMul", (a, b), f"{name}.y")


def _softmax(model: _Model, name: str, sizes: Sequence[int]) -> str:
    return model.node("Softmax", (model.input(f"{name}.x", sizes),), f"{name}.y", axis=-1)


def _layer_norm(model: _Model, name: str, sizes: Sequence[int]) -> str:
    x = model.input(f"{name}.x", sizes)
    scale, bias = (model.weights(f"{name}.{each}", sizes[-1:]) for each in ("scale", "bias"))
    return model.node("LayerNormalization", (x, scale, bias), f"{name}.y", axis=-1)


def _pool(model: _Model, name: str, sizes: Sequence[int]) -> str:
    channels, size, kernel, stride = sizes
    x = model.input(f"{name}.x", (1, channels, size, size))
    options = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4}
    return model.node("MaxPool", (x,), f"{name}.y", **options)


def _attention(model: _Model, name: str, sizes: Sequence[int]) -> str:
    heads, tokens, depth = sizes
    q, k, v = (model.input(f"{name}.{each}", (1, heads, tokens, depth)) for each in "qkv")
    turned = model.node("Transpose", (k,), f"{name}.t", perm=[0, 1, 3, 2])
    scale = f"{name}.scale"
    model.constants.append(numpy_helper.from_array(np.array(depth**-0.5, np.float32), scale))
    scores = model.node("Mul", (model.node("MatMul", (q, turned), f"{name}.s"), scale), f"{name}.m")
    shares = model.node("Softmax", (scores,), f"{name}.p", axis=-1)
    return model.node("MatMul", (shares, v), f"{name}.y")


_NODES: dict[str, Callable[[_Model, str, Sequence[int]], str]] = {
    "conv": _conv,
    "matmul": _matmul,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "pool": _pool,
    "attention": _attention,
}


def as_model(layers: Sequence[Layer]) -> onnx.ModelProto:
    """All layers side by side, each with inputs and an output of its own."""
    model = _Model()
    for number, layer in enumerate(layers):
        model.output(_NODES[layer.kind](model, f"layer{number}", layer.sizes))
    graph = helper.make_graph(model.nodes, "layers", model.inputs, model.outputs, model.constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return onnx.shape_inference.infer_shapes(proto)


def random_layers(count: int, seed: int) -> list[Layer]:
    """So many of all kinds and sizes; the same for the same seed."""
    generator = random.Random(seed)
    found: dict[str, Layer] = {}
    while len(found) < count:
        layer = generator.choices([make for make, _ in _RANDOM], [weight for _, weight in _RANDOM])[0](generator)
        if layer is not None:
            found[layer.name] = layer
    return list(found.values())


def _channels(generator: random.Random, most: int = 768) -> int:
    """Often a round number, sometimes any."""
    if generator.random() < 0.25:
        return generator.randint(3, most)
    return min(most, generator.choice((8, 16, 24, 32, 40, 48, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512, 768)))


def _random_convolution(generator: random.Random) -> Layer | None:
    kernel = generator.choice((1, 1, 1, 3, 3, 3, 5, 7))
    channels, outputs = _channels(generator), _channels(generator)
    size = generator.choice((5, 7, 7, 10, 13, 14, 14, 19, 26, 28, 28, 35, 52, 56, 56, 80, 112))
    stride = generator.choice((1, 1, 1, 2))
    dilation = generator.choice((1, 1, 1, 1, 2)) if kernel > 1 else 1
    groups = generator.choice([each for each in (1, 1, 1, 1, 2, 4) if channels % each == 0 and outputs % each == 0])
    flops = 2 * channels / groups * outputs * (kernel * size / stride) ** 2
    if not _LEAST_FLOPS < flops < _MOST_FLOPS:
        return None
    return convolution(channels, size, outputs, kernel, stride=stride, dilation=dilation, groups=groups)


def _random_depthwise(generator: random.Random) -> Layer | None:
    channels, size = _channels(generator), generator.choice((7, 10, 14, 19, 28, 56, 112))
    if channels * size * size > 2_000_000:
        return None
    kernel, stride = generator.choice((3, 3, 5, 7)), generator.choice((1, 1, 2))
    return convolution(channels, size, channels, kernel, stride=stride, groups=channels)


def _random_product(generator: random.Random) -> Layer | None:
    rows = generator.choice((1, 1, 4, 16, 49, 50, 64, 77, 128, 196, 197, 256, 384, 512, generator.randint(2, 600)))
    columns, depth = (_channels(generator, 3072) * generator.choice((1, 1, 2, 4)) for _ in range(2))
    batch, constant = (1, True) if generator.random() < 0.8 else (generator.choice((2, 4, 8, 12)), False)
    if not _LEAST_FLOPS < 2.0 * batch * rows * columns * depth < _MOST_FLOPS or columns * depth > 6_000_000:
        return None
    return product(rows, columns, depth, batch, constant=constant)


def _random_rows(generator: random.Random) -> Layer | None:
    rows, length = generator.choice((1, 8, 49, 196, 512, 1536)), _channels(generator, 2048) * generator.choice((1, 2))
    return None if rows * length < 4096 else generator.choice((softmax, layer_norm))(rows, length)


def _random_pool(generator: random.Random) -> Layer | None:
    kernel, stride = generator.choice(((3, 2), (3, 1), (5, 1)))
    channels, size = _channels(generator, 512), generator.choice((14, 28, 56))
    return None if channels * size * size > 1_000_000 else max_pool(channels, size, kernel, stride)


def _random_attention(generator: random.Random) -> Layer | None:
    heads, depth = generator.choice((3, 6, 8, 12)), generator.choice((32, 48, 64, 80))
    return attention(heads, generator.choice((49, 77, 128, 197, 256)), depth)


_RANDOM: tuple[tuple[Callable[[random.Random], Layer | None], float], ...] = (
    (_random_convolution, 0.5),
    (_random_product, 0.2),
    (_random_depthwise, 0.12),
    (_random_rows, 0.07),
    (_random_pool, 0.05),
    (_random_attention, 0.06),
)

"""Layers of networks as data: what templates cut for many cores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from tilewright.ir_passes.dialect.attention import attention
from tilewright.ir_passes.dialect.cached_attention import cached_attention
from tilewright.ir_passes.dialect.interpolation import interpolate
from tilewright.ir_passes.dialect.recurrent import LSTM, Activation, recurrent
from tilewright.ir_passes.dialect.recurrent import Layer as Recurrent
from tilewright.ir_passes.dialect.weight_product import weight_product
from tvm import relax

_LAYOUT = {"data_layout": "NHWC", "kernel_layout": "OHWI"}


@dataclass(frozen=True)
class Layer:
    """An operator of a network, batch 1: the shapes of its inputs, and how it is built. Weights are constants.

    `dtype` is that of the inputs; with integers, weights are int8 and sums int32.
    """

    name: str
    inputs: tuple[tuple[int, ...], ...]
    build: Callable[..., Any]
    dtype: str = "float32"

    def __str__(self) -> str:
        return self.name


def module_of(layer: Layer) -> Any:
    """`main` of the layer alone."""
    builder = relax.BlockBuilder()
    variables = [relax.Var(f"x{i}", relax.TensorType(shape, layer.dtype)) for i, shape in enumerate(layer.inputs)]
    with builder.function("main", variables):
        with builder.dataflow():
            result = builder.emit_output(relax.Tuple([layer.build(*variables)]))
        builder.emit_func_output(result)
    return builder.get()


def _zeros(*shape: int, dtype: str = "float32") -> Any:
    return relax.const(np.zeros(shape, dtype))


def _of(dtype: str) -> tuple[str, str]:
    """The dtypes of the weights that are multiplied with one, and of the sums."""
    return (dtype, dtype) if dtype == "float32" else ("int8", "int32")


def _activated(sums: Any, dtype: str) -> Any:
    """Floats of sums, at least 0."""
    return relax.op.nn.relu(sums if dtype == "float32" else relax.op.astype(sums, "float32"))


def conv(
    model: str, size: int, channels: int, columns: int, kernel: int = 1, stride: int = 1, dtype: str = "float32"
) -> Layer:
    """A convolution of a square image, padded to its own size over the stride."""
    weight_dtype, sums = _of(dtype)

    def build(x: Any) -> Any:
        weights = _zeros(columns, kernel, kernel, channels, dtype=weight_dtype)
        how = {"strides": (stride, stride), "padding": (kernel // 2,) * 4, "out_dtype": sums, **_LAYOUT}
        return _activated(relax.op.nn.conv2d(x, weights, **how), sums)

    name = f"{model}-{kernel}x{kernel}{f'/{stride}' if stride > 1 else ''}-{size}x{size}-{channels}-{columns}"
    return Layer(name, ((1, size, size, channels),), build, dtype)


def depthwise(model: str, size: int, channels: int, kernel: int = 3, stride: int = 1, dtype: str = "float32") -> Layer:
    """A depthwise convolution of a square image."""
    weight_dtype, sums = _of(dtype)

    def build(x: Any) -> Any:
        weights = _zeros(channels, kernel, kernel, 1, dtype=weight_dtype)
        how = {"strides": (stride,) * 2, "padding": (kernel // 2,) * 4, "groups": channels, "out_dtype": sums}
        return relax.op.nn.conv2d(x, weights, **how, **_LAYOUT)

    name = f"{model}-depthwise{kernel}{f'/{stride}' if stride > 1 else ''}-{size}x{size}-{channels}"
    return Layer(name, ((1, size, size, channels),), build, dtype)


def dense(model: str, rows: int, depth: int, columns: int, dtype: str = "float32") -> Layer:
    """A dense layer."""
    weight_dtype, sums = _of(dtype)
    return Layer(
        f"{model}-dense-{rows}-{depth}-{columns}",
        ((rows, depth),),
        lambda x: _activated(relax.op.matmul(x, _zeros(depth, columns, dtype=weight_dtype), sums), sums),
        dtype,
    )


def pruned(model: str, rows: int, depth: int, columns: int) -> Layer:
    """A dense layer of which one in ten blocks of 16 columns is not zero."""

    def build(x: Any) -> Any:
        kept = np.random.default_rng(0).random((depth, -(-columns // 16))) < 0.1
        weights = kept.repeat(16, axis=1)[:, :columns].astype("float32")
        return relax.op.nn.relu(relax.op.matmul(x, relax.const(weights)))

    return Layer(f"{model}-pruned-{rows}-{depth}-{columns}", ((rows, depth),), build)


def few_bits(model: str, rows: int, depth: int, columns: int, bits: int, block: int) -> Layer:
    """A dense layer with weights of a few bits."""
    weights = (
        relax.const(np.zeros((depth, columns), "int8")),
        relax.const(np.ones((depth // block, columns), "float32")),
        relax.const(0, "int32"),
    )
    return Layer(
        f"{model}-int{bits}-{rows}-{depth}-{columns}",
        ((rows, depth),),
        lambda x: relax.op.nn.relu(weight_product(x, *weights, bits=bits, block=block)),
    )


def attended(model: str, tokens: int, heads: int, depth: int) -> Layer:
    """Attention of so many heads."""
    shape = (1, tokens, heads, depth)
    return Layer(
        f"{model}-attention-{tokens}", (shape,) * 3, lambda *qkv: attention(qkv, scale=0.125, nan_is_zero=False)
    )


def continued(model: str, queries: int, keys: int, heads: int, depth: int) -> Layer:
    """Attention of new tokens to a cache, all of whose keys are there."""

    def build(q: Any, k: Any, v: Any) -> Any:
        operands = [q, k, v, relax.const(queries, "int64"), relax.const(keys, "int64")]
        return cached_attention(operands, scale=0.125, nan_is_zero=False, heads_first=(True, True))

    cache = (1, heads, keys, depth)
    return Layer(f"{model}-continued-{queries}-{keys}", ((1, queries, heads, depth), cache, cache), build)


def mean(model: str, size: int, channels: int) -> Layer:
    """The mean over an image."""
    shape = (1, size, size, channels)
    return Layer(f"{model}-mean-{size}x{size}-{channels}", (shape,), lambda x: relax.op.mean(x, [1, 2]))


def max_pool(model: str, size: int, channels: int) -> Layer:
    """3x3, every second pixel."""

    def build(x: Any) -> Any:
        return relax.op.nn.max_pool2d(x, (3, 3), strides=(2, 2), padding=(1,) * 4, layout="NHWC")

    return Layer(f"{model}-pool-{size}x{size}-{channels}", ((1, size, size, channels),), build)


def group_norm(model: str, size: int, channels: int, groups: int = 32) -> Layer:
    """Group norm of a square image, channels last."""

    def build(x: Any) -> Any:
        return relax.op.nn.group_norm(x, _zeros(channels), _zeros(channels), groups, 3, [1, 2])

    return Layer(f"{model}-group_norm-{size}x{size}-{channels}", ((1, size, size, channels),), build)


def enlarged(model: str, size: int, channels: int) -> Layer:
    """A square image of twice the size, between neighbours."""

    def build(x: Any) -> Any:
        places = np.minimum(np.arange(2 * size)[:, None] // 2 + [0, 1], size - 1)
        table = relax.const(places), relax.const(np.full((2 * size, 2), 0.5, "float32"))
        return relax.op.nn.relu(interpolate(x, [table, table], [2, 1]))

    return Layer(f"{model}-enlarged-{size}x{size}-{channels}", ((1, size, size, channels),), build)


def channels_first(model: str, size: int, channels: int) -> Layer:
    """An image from channels last to channels first."""
    shape = (1, size, size, channels)
    return Layer(f"{model}-turned-{size}x{size}-{channels}", (shape,), lambda x: relax.op.permute_dims(x, (0, 3, 1, 2)))


def lstm(model: str, steps: int, batch: int, hidden: int) -> Layer:
    """The steps of an LSTM, its input already multiplied."""
    functions = tuple(Activation(name) for name in ("sigmoid", "tanh", "tanh"))

    def build(x: Any) -> Any:
        operands = [x, _zeros(1, 4 * hidden, hidden), *[_zeros(1, batch, hidden)] * 2]
        made = recurrent(Recurrent(LSTM, (False,), (functions,)), operands)
        return relax.TupleGetItem(relax.BlockBuilder.current().emit(made), 0)

    return Layer(f"{model}-lstm-{steps}x{batch}-{hidden}", ((steps, batch, 4 * hidden),), build)


_CONVOLUTIONS = (
    conv("resnet50", 224, 3, 64, 7, 2),
    conv("resnet50", 56, 64, 64),
    conv("resnet50", 56, 256, 64),
    conv("resnet50", 56, 64, 256),
    conv("resnet50", 28, 512, 128),
    conv("resnet50", 28, 256, 256, 3, 2),
    conv("resnet50", 14, 1024, 256),
    conv("resnet50", 14, 256, 1024),
    conv("resnet50", 7, 2048, 512),
    conv("resnet50", 7, 512, 2048),
    conv("mobilenet_v2", 224, 3, 32, 3, 2),
    conv("mobilenet_v2", 112, 32, 16),
    conv("mobilenet_v2", 56, 144, 24),
    conv("mobilenet_v2", 28, 32, 192),
    conv("mobilenet_v2", 28, 192, 32),
    conv("mobilenet_v2", 14, 96, 576),
    conv("mobilenet_v2", 14, 384, 96),
    conv("mobilenet_v2", 14, 576, 96),
    conv("mobilenet_v2", 7, 960, 160),
    conv("mobilenet_v2", 7, 320, 1280),
    conv("efficientnet_b0", 14, 672, 112),
    conv("efficientnet_b0", 7, 192, 1152),
    conv("efficientnet_b0", 7, 1152, 192),
    conv("efficientnet_b0", 1, 1152, 48),
)
_DENSE = (
    dense("resnet50", 1, 2048, 1000),
    dense("bert_base", 128, 768, 768),
    dense("bert_base", 128, 768, 3072),
    dense("bert_base", 128, 3072, 768),
)

# Template -> layers that it computes.
LAYERS: Mapping[str, tuple[Layer, ...]] = MappingProxyType(
    {
        "contraction": (*_CONVOLUTIONS, *_DENSE),
        "dot_product": (
            conv("resnet50", 56, 64, 256),
            conv("resnet50", 28, 128, 128, 3),
            conv("resnet50", 14, 256, 256, 3),
            conv("resnet50", 14, 1024, 256),
            conv("resnet50", 7, 512, 2048),
            conv("mobilenet_v2", 14, 96, 576),
            *_DENSE,
        ),
        "winograd": (
            conv("resnet50", 56, 64, 64, 3),
            conv("resnet50", 28, 128, 128, 3),
            conv("resnet50", 14, 256, 256, 3),
            conv("resnet50", 7, 512, 512, 3),
        ),
        "integer_winograd": (
            conv("resnet50", 56, 64, 64, 3, dtype="uint8"),
            conv("resnet50", 28, 128, 128, 3, dtype="uint8"),
            conv("resnet50", 14, 256, 256, 3, dtype="uint8"),
        ),
        "sparse": (
            pruned("resnet50", 3136, 64, 256),
            pruned("resnet50", 196, 1024, 256),
            pruned("resnet50", 49, 512, 2048),
            pruned("resnet50", 1, 2048, 1000),
            pruned("bert_base", 128, 768, 3072),
        ),
        "group_norm": (group_norm("unet", 32, 128), group_norm("unet", 16, 256), group_norm("unet", 64, 320)),
        "interpolation": (enlarged("unet", 32, 128), enlarged("deeplab", 65, 21)),
        "recurrent": (lstm("xlstm", 50, 8, 512), lstm("translator", 30, 64, 256), lstm("speech", 40, 1, 1024)),
        "transposition": (channels_first("resnet50", 56, 256), channels_first("unet", 32, 128)),
        "window": (
            max_pool("resnet50", 112, 64),
            mean("resnet50", 7, 2048),
            depthwise("mobilenet_v2", 112, 32),
            depthwise("mobilenet_v2", 112, 96, 3, 2),
            depthwise("mobilenet_v2", 28, 192),
            depthwise("mobilenet_v2", 14, 576),
            depthwise("mobilenet_v2", 7, 960),
            depthwise("efficientnet_b0", 14, 672, 5),
            depthwise("efficientnet_b0", 7, 1152, 5),
            mean("efficientnet_b0", 112, 32),
            mean("efficientnet_b0", 14, 480),
        ),
        "attention": (attended("bert_base", 128, 12, 64),),
        "cached_attention": (continued("gpt2", 1, 1024, 12, 64), continued("gpt2", 128, 1024, 12, 64)),
        "weight_product": (few_bits("gpt2", 1, 768, 3072, 4, 32), few_bits("llama", 4, 2048, 2048, 8, 2048)),
        "rows": (
            Layer(
                "bert_base-layer_norm-128-768",
                ((1, 128, 768),),
                lambda x: relax.op.nn.layer_norm(x, _zeros(768), _zeros(768), axes=[-1]),
            ),
            Layer("bert_base-softmax-1536-128", ((12, 128, 128),), lambda x: relax.op.nn.softmax(x)),
        ),
        "plain": (
            Layer(
                "mobilenet_v2-transpose-224x224-3",
                ((1, 3, 224, 224),),
                lambda x: relax.op.permute_dims(x, (0, 2, 3, 1)),
            ),
            Layer(
                "efficientnet_b0-gate-56x56-96",
                ((1, 56, 56, 96), (1, 1, 1, 96)),
                lambda x, gate: relax.op.multiply(x, gate),
            ),
            Layer("bert_base-add-128-768", ((1, 128, 768),) * 2, relax.op.add),
        ),
    }
)

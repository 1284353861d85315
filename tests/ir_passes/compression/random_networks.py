"""Random networks whose channels are entangled in all the ways there are, as Relax has them after import."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tvm
from relax_models import build, op
from tilewright.ir_passes.core.constants import constant

SIDE = 4  # of images
LENGTH = 6  # of sequences
BATCH = 2


class Network:
    """Draws one operator after the other; what was made before may be read again."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._number = 0
        self.emit: Callable[..., Any] = lambda expr, name="node": expr

    def weights(self, *shape: int) -> Any:
        scale = np.sqrt(max(1, int(np.prod(shape[1:])) if len(shape) > 2 else shape[0]))
        return constant((self.rng.standard_normal(shape) / scale).astype(np.float32))

    def choose(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def name(self, kind: str) -> str:
        self._number += 1
        return f"{kind}_{self._number}"

    def conv(self, x: Any, outputs: int, kernel: int = 1, groups: int = 1) -> Any:
        name = self.name("conv")
        inputs = int(x.ty.shape[1])
        weights = self.weights(outputs, inputs // groups, kernel, kernel)
        made = self.emit(op.nn.conv2d(x, weights, padding=kernel // 2, groups=groups), name)
        return self.emit(op.add(made, self.weights(outputs, 1, 1)), name) if self.choose(True, False) else made

    def dense(self, x: Any, outputs: int) -> Any:
        name = self.name("dense")
        made = self.emit(op.matmul(x, self.weights(int(x.ty.shape[-1]), outputs)), name)
        return self.emit(op.add(made, self.weights(outputs)), name)


def image_network(seed: int, steps: int = 10) -> tvm.IRModule:
    """Convolutions on images, and a head."""
    net = Network(seed)

    def body(emit: Any, x: Any) -> Any:
        net.emit = emit
        tensors = [net.conv(x, net.choose(4, 6, 8, 12), 3)]
        for _ in range(steps):
            step = net.choose(*IMAGE_STEPS)
            tensors.append(step(net, tensors[-1], tensors))
        last = tensors[-1]
        if net.choose(True, False):
            flat = emit(op.reshape(last, [BATCH, int(last.ty.shape[1]) * SIDE * SIDE]), "flatten")
        else:
            flat = emit(op.reshape(emit(op.mean(last, [2, 3], keepdims=True), "pool"), [BATCH, -1]), "flatten")
        return net.dense(flat, 3)

    return build({"x": (BATCH, 3, SIDE, SIDE)}, body)


def sequence_network(seed: int, steps: int = 5) -> tvm.IRModule:
    """Attention and products on sequences."""
    net = Network(seed)

    def body(emit: Any, x: Any) -> Any:
        net.emit = emit
        last = net.dense(x, 12)
        for _ in range(steps):
            last = net.choose(*SEQUENCE_STEPS)(net, last)
        return net.dense(emit(op.sum(last, [1]), "pool"), 3)

    return build({"x": (BATCH, LENGTH, 5)}, body)


def _channels(x: Any) -> int:
    return int(x.ty.shape[1])


def _conv(net: Network, x: Any, before: list[Any]) -> Any:
    return net.conv(x, net.choose(4, 6, 8, 12), net.choose(1, 3))


def _depthwise(net: Network, x: Any, before: list[Any]) -> Any:
    return net.conv(x, _channels(x) * net.choose(1, 1, 2), 3, _channels(x))


def _grouped(net: Network, x: Any, before: list[Any]) -> Any:
    groups = net.choose(*(each for each in (2, 3, 4) if _channels(x) % each == 0))
    return net.conv(x, groups * net.choose(1, 2, 3), 1, groups)


def _residual(net: Network, x: Any, before: list[Any]) -> Any:
    same = [each for each in before if _channels(each) == _channels(x)]
    other = net.choose(*same)
    return net.emit(op.add(net.conv(x, _channels(x), 3), other), net.name("add"))


def _concat(net: Network, x: Any, before: list[Any]) -> Any:
    parts = [x, *(net.choose(*before) for _ in range(net.choose(1, 2)))]
    return net.conv(net.emit(op.concat(parts, 1), net.name("concat")), net.choose(4, 8))


def _gate(net: Network, x: Any, before: list[Any]) -> Any:
    squeezed = net.conv(net.emit(op.mean(x, [2, 3], keepdims=True), net.name("squeeze")), 4)
    gate = net.emit(op.sigmoid(net.conv(squeezed, _channels(x))), net.name("gate"))
    return net.emit(op.multiply(x, gate), net.name("scale"))


def _shuffle(net: Network, x: Any, before: list[Any]) -> Any:
    channels, name = _channels(x), net.name("shuffle")
    taken = net.emit(op.reshape(x, [BATCH, 2, channels // 2, SIDE, SIDE]), name)
    turned = net.emit(op.permute_dims(taken, [0, 2, 1, 3, 4]), name)
    return net.emit(op.reshape(turned, [BATCH, channels, SIDE, SIDE]), name)


def _split(net: Network, x: Any, before: list[Any]) -> Any:
    from tvm import relax

    halves = net.emit(op.split(x, 2, 1), net.name("split"))
    left, right = (net.emit(relax.TupleGetItem(halves, index), net.name("half")) for index in (0, 1))
    return net.emit(op.concat([left, net.conv(right, net.choose(2, 4))], 1), net.name("concat"))


def _slice(net: Network, x: Any, before: list[Any]) -> Any:
    begin, step = net.choose(0, 1), net.choose(1, 2)
    part = net.emit(op.strided_slice(x, [1], [begin], [_channels(x)], [step]), net.name("slice"))
    return net.conv(part, net.choose(4, 6))


def _reorder(net: Network, x: Any, before: list[Any]) -> Any:
    kind = net.choose("flip", "take", "repeat", "tile", "pad")
    name, channels = net.name(kind), _channels(x)
    if kind == "flip":
        return net.emit(op.flip(x, 1), name)
    if kind == "take":
        indices = net.rng.integers(0, channels, 6).astype(np.int64)
        return net.emit(op.take(x, constant(indices), axis=1), name)
    if kind == "repeat":
        return net.conv(net.emit(op.repeat(x, 2, 1), name), 6)
    if kind == "tile":
        return net.conv(net.emit(op.tile(x, [1, 2, 1, 1]), name), 6)
    return net.emit(op.nn.pad(x, [0, 0, 1, 1, 0, 0, 0, 0]), name)


def _norm(net: Network, x: Any, before: list[Any]) -> Any:
    channels = _channels(x)
    groups = net.choose(channels, 1, 2)
    gamma, beta = net.weights(channels, 1), net.weights(channels, 1)
    flat = [constant(np.asarray(each.value.numpy()).reshape(-1)) for each in (gamma, beta)]
    return net.emit(op.nn.group_norm(x, *flat, groups, channel_axis=1, axes=[2, 3]), net.name("norm"))


def _activation(net: Network, x: Any, before: list[Any]) -> Any:
    return net.emit(net.choose(op.nn.relu, op.tanh, op.nn.silu)(x), net.name("activation"))


def _pool(net: Network, x: Any, before: list[Any]) -> Any:
    pool = net.choose(op.nn.max_pool2d, op.nn.avg_pool2d)
    return net.emit(pool(x, pool_size=[3, 3], strides=[1, 1], padding=[1, 1, 1, 1]), net.name("pool"))


def _even(step: Callable[..., Any]) -> Callable[..., Any]:
    """Steps that need an even number of channels, after a convolution that sees to it."""
    return lambda net, x, before: step(net, x if _channels(x) % 2 == 0 else net.conv(x, 8), before)


IMAGE_STEPS = (
    _conv,
    _depthwise,
    _even(_grouped),
    _residual,
    _concat,
    _gate,
    _even(_shuffle),
    _even(_split),
    _even(_slice),
    _reorder,
    _even(_norm),
    _activation,
    _pool,
)


def _attention(net: Network, x: Any) -> Any:
    """Heads by three products, or by one whose result is split; with the residual sum or without."""
    heads, depth, width = net.choose(2, 3), net.choose(2, 4), int(x.ty.shape[-1])
    inner, name, emit = heads * depth, net.name("attention"), net.emit
    if net.choose(True, False):
        parts = [net.dense(x, inner) for _ in range(3)]
        q, k, v = (
            emit(op.permute_dims(emit(op.reshape(part, [BATCH, LENGTH, heads, depth]), name), [0, 2, 1, 3]), name)
            for part in parts
        )
    else:
        whole = emit(op.reshape(net.dense(x, 3 * inner), [BATCH, LENGTH, 3, heads, depth]), name)
        turned = emit(op.permute_dims(whole, [2, 0, 3, 1, 4]), name)
        q, k, v = (emit(op.take(turned, constant(np.array(index)), axis=0), name) for index in range(3))
    scores = emit(op.matmul(q, emit(op.permute_dims(k, [0, 1, 3, 2]), name)), name)
    mixed = emit(op.matmul(emit(op.nn.softmax(scores, axis=-1), name), v), name)
    merged = emit(op.reshape(emit(op.permute_dims(mixed, [0, 2, 1, 3]), name), [BATCH, LENGTH, inner]), name)
    out = net.dense(merged, width)
    return emit(op.add(x, out), net.name("add")) if net.choose(True, False) else out


def _mlp(net: Network, x: Any) -> Any:
    width = int(x.ty.shape[-1])
    hidden = net.emit(op.nn.silu(net.dense(x, net.choose(8, 16))), net.name("activation"))
    return net.emit(op.add(x, net.dense(hidden, width)), net.name("add"))


def _gated(net: Network, x: Any) -> Any:
    both = net.emit(op.multiply(net.dense(x, 8), net.emit(op.sigmoid(net.dense(x, 8)), net.name("gate"))), "product")
    return net.dense(both, net.choose(8, 12))


def _layer_norm(net: Network, x: Any) -> Any:
    width = int(x.ty.shape[-1])
    flat = [constant(net.rng.standard_normal(width).astype(np.float32)) for _ in range(2)]
    return net.emit(op.nn.layer_norm(x, *flat, axes=[-1]), net.name("norm"))


def _rows(net: Network, x: Any) -> Any:
    """The batch and the places as one axis, as exporters write products."""
    width = int(x.ty.shape[-1])
    rows = net.emit(op.reshape(x, [BATCH * LENGTH, width]), net.name("rows"))
    made = net.dense(rows, net.choose(8, 12))
    return net.emit(op.reshape(made, [BATCH, LENGTH, -1]), net.name("back"))


SEQUENCE_STEPS = (_attention, _mlp, _gated, _layer_norm, _rows, _attention)

"""Motifs: the patterns that passes look for, complete and slightly changed, which operators at random rarely make."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from draft import Draft, Unfit, onnx_dtype

Motif = Callable[[Draft], None]

MOTIFS: list[Motif] = []


def motif(function: Motif) -> Motif:
    """Registers a motif."""
    MOTIFS.append(function)
    return function


def _scalar(d: Draft, value: float, rank: int = 0) -> str:
    """A constant number, of rank 0 or as a tensor of one element; now and then not the one that the pattern has."""
    value = value if d.chance(0.9) else value * 1.25
    shape = d.one_of(((), (), (1,), (1,) * max(rank, 1), (1,) * (rank + 1)))
    return d.constant(np.full(shape, value, d.dtype))


def _mul(d: Draft, a: str, b: str) -> str:
    return d.node("Mul", [a, b] if d.chance(0.5) else [b, a])


def _add(d: Draft, a: str, b: str) -> str:
    return d.node("Add", [a, b] if d.chance(0.5) else [b, a])


def _axes(d: Draft, op: str, x: str, axes: list[int], keepdims: int = 1) -> str:
    if d.opset >= (13 if op == "ReduceSum" else 18):
        return d.node(op, [x, d.parameter(axes)], keepdims=keepdims)
    return d.node(op, [x], axes=axes, keepdims=keepdims)


@motif
def gelu_by_erf(d: Draft) -> None:
    x = d.pick()
    r = d.rank(x)
    inner = d.node("Div", [x, _scalar(d, math.sqrt(2), r)]) if d.chance(0.6) else _mul(d, x, _scalar(d, 0.5**0.5, r))
    gate = _add(d, d.node("Erf", [inner]), _scalar(d, 1.0, r))
    if d.chance(0.5):
        _mul(d, _mul(d, x, gate), _scalar(d, 0.5, r))
    else:
        _mul(d, _mul(d, x, _scalar(d, 0.5, r)), gate)


@motif
def gelu_by_tanh(d: Draft) -> None:
    x = d.pick()
    r = d.rank(x)
    cube = d.node("Pow", [x, d.parameter(3.0, d.dtype)])
    inner = _mul(d, _add(d, x, _mul(d, cube, _scalar(d, 0.044715, r))), _scalar(d, math.sqrt(2 / math.pi), r))
    gate = _add(d, d.node("Tanh", [inner]), _scalar(d, 1.0, r))
    _mul(d, _mul(d, x, gate), _scalar(d, 0.5, r))


@motif
def silu(d: Draft) -> None:
    x = d.pick()
    other = x if d.chance(0.85) else d.pick(fits=lambda a: a.shape == d.array(x).shape)
    _mul(d, other, d.node("Sigmoid", [x]))


@motif
def hard_swish(d: Draft) -> None:
    x = d.pick()
    r = d.rank(x)
    moved = d.clipped(_add(d, x, _scalar(d, 3.0, r)), 0, 6)
    if d.chance(0.5):
        d.node("Div", [_mul(d, x, moved), _scalar(d, 6.0, r)])
    else:
        _mul(d, x, _mul(d, moved, _scalar(d, 1 / 6, r)))


@motif
def softplus(d: Draft) -> None:
    """As torch exports it: the line itself above a threshold."""
    x = d.pick()
    grown = d.node("Log", [_add(d, d.node("Exp", [d.clipped(x, -15, 15)]), _scalar(d, 1.0))])
    d.node("Where", [d.node("Greater", [x, _scalar(d, 1.5)]), x, grown])


@motif
def softmax_by_hand(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim > 0)
    axis = d.axis(d.rank(x))
    grown = d.node("Exp", [d.node("Sub", [x, _axes(d, "ReduceMax", x, [axis])])])
    d.node("Div", [grown, _axes(d, "ReduceSum", grown, [axis])])


@motif
def layer_norm_by_hand(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim > 0 and a.std(axis=-1).min() > 0.05)
    axes = [-1] if d.chance(0.7) or d.rank(x) < 2 else [-2, -1]
    centred = d.node("Sub", [x, _axes(d, "ReduceMean", x, axes)])
    squared = d.node("Pow", [centred, d.parameter(2.0, d.dtype)]) if d.chance(0.5) else d.node("Mul", [centred] * 2)
    spread = d.node("Sqrt", [_add(d, _axes(d, "ReduceMean", squared, axes), _scalar(d, 1e-5))])
    normal = d.node("Div", [centred, spread])
    width = d.array(x).shape[axes[0] :]
    if d.chance(0.8):
        normal = _mul(d, normal, d.leaf(d.one_of((width, width[-1:], ())), constant=True))
        if d.chance(0.8):
            _add(d, normal, d.leaf(d.one_of((width, width[-1:], ())), constant=True))


@motif
def rms_norm_by_hand(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim > 0 and np.abs(a).max(axis=-1).min() > 0.1)
    mean = _axes(d, "ReduceMean", d.node("Mul", [x, x]), [-1])
    root = d.node("Sqrt", [_add(d, mean, _scalar(d, 1e-6))])
    normal = _mul(d, x, d.node("Reciprocal", [root])) if d.chance(0.5) else d.node("Div", [x, root])
    _mul(d, normal, d.leaf(d.array(x).shape[-1:], constant=True))


@motif
def attention(d: Draft) -> None:
    if d.dtype == "float64":
        raise Unfit
    batch, heads = d.between(1, 3), d.one_of((1, 2, 3, 5))
    queries, keys, depth = d.between(1, 17), d.between(1, 40), d.one_of((3, 7, 8, 16, 24))
    q, k, v = (d.leaf((batch, heads, n, depth), constant=False) for n in (queries, keys, keys))
    if d.chance(0.3):
        q = d.node("Mul", [q, _scalar(d, depth**-0.5)])
    scores = d.node("MatMul", [q, d.node("Transpose", [k], perm=[0, 1, 3, 2])])
    if d.chance(0.7):
        scores = d.node("Div", [scores, _scalar(d, depth**0.5)])
    if d.chance(0.5):
        shape = d.one_of(((batch, 1, 1, keys), (queries, keys), (1, 1, queries, keys), (batch, heads, queries, keys)))
        scores = _add(d, scores, d.leaf(shape))
    elif d.chance(0.4):
        mask = d.leaf(d.one_of(((queries, keys), (batch, 1, 1, keys))), "bool")
        scores = d.node("Where", [mask, scores, d.constant(np.full((), -1e3, d.dtype))])
    mixed = d.node("MatMul", [d.node("Softmax", [scores], axis=-1), v])
    if d.chance(0.5):
        mixed = d.node("Transpose", [mixed], perm=[0, 2, 1, 3])
        d.node("Reshape", [mixed, d.parameter([batch, queries, heads * depth])])


@motif
def convolution_block(d: Draft) -> None:
    if d.dtype != "float32":
        raise Unfit
    x = d.pick(rank=4, fits=lambda a: a.shape[1] <= 48)
    channels = d.array(x).shape[1]
    outputs = d.one_of((channels, 3, 8, 16, 24))
    kernel = d.one_of((1, 3, 3))
    scale = 1.5 / math.sqrt(channels * kernel**2)
    w = d.leaf((outputs, channels, kernel, kernel), low=-2 * scale, high=2 * scale, constant=True)
    bias = [d.leaf((outputs,), constant=True)] if d.chance(0.5) else []
    y = d.node("Conv", [x, w, *bias], pads=[kernel // 2] * 4, kernel_shape=[kernel, kernel])
    shape = d.one_of(((outputs, 1, 1), (1, outputs, 1, 1), (1, 1, 1), ()))
    for _ in range(d.between(0, 2)):
        y = d.one_of((_mul, _add))(d, y, d.leaf(shape, constant=True))
    if d.chance(0.5):
        parameters = [d.leaf((outputs,), low=low, high=2.0, constant=True) for low in (-2.0, -2.0, -2.0, 0.3)]
        y = d.node("BatchNormalization", [y, *parameters])
    if outputs == channels and d.chance(0.6):
        y = _add(d, y, x)
    d.node(d.one_of(("Relu", "Sigmoid", "LeakyRelu", "Tanh")), [y])


@motif
def dense_block(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 2 and a.shape[-1] <= 240)
    inner, columns = d.array(x).shape[-1], d.one_of((3, 17, 24, 48, 80))
    w = d.leaf((inner, columns), low=-1.0, high=1.0, constant=True)
    if d.chance(0.3):
        x = _mul(d, x, d.leaf(d.one_of(((inner,), (1, inner), (), (1, 1, 1))), constant=True))
    y = d.node("MatMul", [x, w])
    for _ in range(d.between(1, 2)):
        shape = d.one_of(((columns,), (1, columns), (), (1, 1, 1, columns), d.array(y).shape[-2:]))
        y = d.one_of((_mul, _add, _add))(d, y, d.leaf(shape, constant=True))
    d.node(d.one_of(("Relu", "Gelu" if d.opset >= 20 else "Tanh", "Sigmoid")), [y])


@motif
def squeeze_and_excite(d: Draft) -> None:
    if d.dtype != "float32":
        raise Unfit
    x = d.pick(rank=4, fits=lambda a: a.shape[1] <= 48)
    channels = d.array(x).shape[1]
    y = d.node("GlobalAveragePool", [x])
    y = d.node("Conv", [y, d.leaf((3, channels, 1, 1), low=-1, high=1, constant=True)])
    y = d.node("Conv", [d.node("Relu", [y]), d.leaf((channels, 3, 1, 1), low=-1, high=1, constant=True)])
    _mul(d, x, d.node(d.one_of(("Sigmoid", "HardSigmoid")), [y]))


@motif
def split_and_join(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 2 and max(a.shape[1:]) >= 2)
    extents = d.array(x).shape
    axis = d.one_of([i for i, extent in enumerate(extents) if extent >= 2])
    at = d.between(1, extents[axis] - 1)
    if d.opset >= 13:
        parts = d.node_outputs("Split", [x, d.parameter([at, extents[axis] - at])], 2, axis=axis)
    else:
        parts = d.node_outputs("Split", [x], 2, axis=axis, split=[at, extents[axis] - at])
    changed = [d.node(d.one_of(("Relu", "Neg", "Sigmoid")), [part]) if d.chance(0.8) else part for part in parts]
    if d.chance(0.5):
        changed.reverse()
    if d.chance(0.3):
        changed.append(x)
    d.node("Concat", changed, axis=axis)


@motif
def transposes_around(d: Draft) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 2)
    order = [int(each) for each in d.rng.permutation(d.rank(x))]
    y = d.node("Transpose", [x], perm=order)
    y = d.node(d.one_of(("Relu", "Tanh", "Neg")), [y])
    if d.chance(0.5):
        y = _add(d, y, d.leaf(d.broadcasting(d.array(y).shape)))
    d.node("Transpose", [y], perm=[int(each) for each in np.argsort(order)])


@motif
def shuffle_channels(d: Draft) -> None:
    x = d.pick(rank=4, fits=lambda a: a.shape[1] % 2 == 0)
    n, c, h, w = d.array(x).shape
    y = d.node("Reshape", [x, d.parameter([n, 2, c // 2, h, w])])
    y = d.node("Transpose", [y], perm=[0, 2, 1, 3, 4])
    d.node("Reshape", [y, d.parameter([n, -1, h, w])])


@motif
def diamond(d: Draft) -> None:
    x = d.pick()
    left = d.node(d.one_of(("Relu", "Tanh", "Abs")), [x])
    right = d.node(d.one_of(("Sigmoid", "Neg", "Relu")), [left if d.chance(0.3) else x])
    d.node(d.one_of(("Add", "Mul", "Sub", "Max")), [left, right])


@motif
def integers_of_floats(d: Draft) -> None:
    """Whole numbers that floats say, divided by others, perhaps known when the model runs alone; and floats again."""
    dtype = d.one_of(("int64", "int32"))
    x = d.node(d.one_of(("Floor", "Round")), [d.within(-90.0, 90.0)])
    whole = d.node("Cast", [x], to=onnx_dtype(dtype))
    by = d.leaf(d.broadcasting(d.array(whole).shape), dtype, low=1, high=7)
    found = d.node(d.one_of(("Mod", "Mod", "Div")), [whole, by])
    if d.chance(0.5):
        d.node(d.one_of(("Tanh", "Relu", "Neg")), [d.node("Cast", [found], to=onnx_dtype(d.dtype))])
    elif d.chance(0.5):
        _axes(d, d.one_of(("ReduceSum", "ReduceMax")) if d.opset >= 18 else "ReduceSum", found, [d.rank(found) - 1])

"""Rows of convolutions, pools and normalisations over channels and layers."""

from __future__ import annotations

from typing import Any

import numpy as np
from draft import CHANNELS, Draft, Unfit
from rows import row


def image(d: Draft, spatial: int | None = None) -> str:
    """A tensor of [N, C, spatial...]."""
    rank = 2 + (d.one_of((1, 2, 2, 2, 2, 3)) if spatial is None else spatial)
    if rank == 5:
        return d.pick(
            rank=5,
            fits=lambda a: a.size < 3000,
            otherwise=lambda: d.leaf((d.between(1, 2), d.one_of(CHANNELS[:9]), *(d.between(2, 6) for _ in range(3)))),
        )
    return d.pick(rank=rank, fits=lambda a: a.shape[1] <= 64)


def geometry(d: Draft, extents: tuple[int, ...], *, pool: bool = False) -> dict[str, Any]:
    """Kernel, strides, pads and dilations that fit an image."""
    rank = len(extents)
    kernel = [d.one_of([k for k in (1, 2, 3, 3, 3, 5) if k <= extent + 1]) for extent in extents]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if d.chance(0.5):
        attributes["strides"] = [d.between(1, 3) for _ in range(rank)]
    if d.chance(0.15) and not pool:
        attributes["dilations"] = [d.between(1, 2) for _ in range(rank)]
    how = d.one_of(("none", "same", "any", "any", "auto"))
    if how == "same":
        attributes["pads"] = [k // 2 for k in kernel] * 2
    elif how == "any":
        attributes["pads"] = [d.between(0, min(2, k - 1 if pool else k)) for k in (*kernel, *kernel)]
    elif how == "auto":
        attributes["auto_pad"] = d.one_of(("SAME_UPPER", "SAME_LOWER", "VALID"))
    return attributes


@row("Conv")
def convolution(d: Draft, op: str) -> None:
    if d.dtype == "float64":
        raise Unfit
    x = image(d)
    channels, *extents = d.array(x).shape[1:]
    attributes = geometry(d, tuple(extents))
    groups = d.one_of([k for k in (1, 1, 1, 2, 3, 4, channels, channels) if channels % k == 0])
    outputs = groups * (d.one_of((1, 1, 2)) if groups > 4 else d.one_of((1, 2, 3, 5, 8, 12, 16)))
    weights = (outputs, channels // groups, *attributes["kernel_shape"])
    scale = 1.5 / np.sqrt(np.prod(weights[1:]))
    w = d.leaf(weights, low=-2 * scale, high=2 * scale, constant=d.chance(0.9))
    bias = [d.leaf((outputs,), constant=d.chance(0.9))] if d.chance(0.6) else []
    if d.chance(0.3):
        del attributes["kernel_shape"]
    d.node(op, [x, w, *bias], group=groups if groups > 1 else None, **attributes)


@row("ConvTranspose")
def transposed_convolution(d: Draft, op: str) -> None:
    if d.dtype != "float32":
        raise Unfit
    x = d.pick(rank=d.one_of((3, 4, 4)), fits=lambda a: a.size <= 1500 and a.shape[1] <= 24)
    channels, *extents = d.array(x).shape[1:]
    kernel = [d.between(1, 4) for _ in extents]
    strides = [d.between(1, 3) for _ in extents]
    groups = d.one_of([k for k in (1, 1, 2, channels) if channels % k == 0])
    shape = (channels, d.one_of((1, 2, 3, 5, 8)), *kernel)
    attributes: dict[str, Any] = {"strides": strides, "kernel_shape": kernel}
    how = d.one_of(("none", "pads", "output_padding"))
    if how == "pads":
        attributes["pads"] = [d.between(0, (k - 1) // 2) for k in (*kernel, *kernel)]
    elif how == "output_padding":
        attributes["output_padding"] = [d.between(0, s - 1) for s in strides]
    w = d.leaf(shape, low=-0.5, high=0.5, constant=d.chance(0.85))
    bias = [d.leaf((shape[1] * groups,))] if d.chance(0.5) else []
    d.node(op, [x, w, *bias], group=groups if groups > 1 else None, **attributes)


@row("MaxPool", "AveragePool", "LpPool")
def pool(d: Draft, op: str) -> None:
    if d.dtype == "float64" and op != "MaxPool":
        raise Unfit
    x = image(d)
    extents = d.array(x).shape[2:]
    attributes = geometry(d, extents, pool=True)
    kernel, pads = attributes["kernel_shape"], attributes.get("pads", [0] * 6)
    if any(k > extent + pads[i] for i, (k, extent) in enumerate(zip(kernel, extents, strict=True))):
        raise Unfit("ONNX Runtime computes a window that does not fit, where the stride is large")
    if "auto_pad" not in attributes and op != "LpPool" and d.opset >= 10:
        attributes["ceil_mode"] = d.one_of((None, None, 1))
    if op == "AveragePool":
        attributes["count_include_pad"] = d.one_of((None, 0, 1))
    if op == "LpPool":
        attributes["p"] = d.one_of((None, 1, 2, 3))
    outputs = 2 if op == "MaxPool" and d.chance(0.15) else 1
    d.node_outputs(op, [x], outputs, **attributes)


@row("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def global_pool(d: Draft, op: str) -> None:
    if d.dtype == "float64":
        raise Unfit
    d.node(op, [image(d)], **({"p": d.one_of((1, 2, 3))} if op == "GlobalLpPool" else {}))


@row("MaxUnpool")
def max_unpool(d: Draft, op: str) -> None:
    if d.dtype != "float32":
        raise Unfit
    x = d.pick(rank=4, fits=lambda a: min(a.shape[2:]) >= 2)
    values, places = d.node_outputs("MaxPool", [x], 2, kernel_shape=[2, 2], strides=[2, 2])
    d.node(op, [values, places], kernel_shape=[2, 2], strides=[2, 2])


@row("BatchNormalization")
def batch_normalization(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 2)
    channels = d.array(x).shape[1]
    constant = d.chance(0.9)
    parameters = [
        d.leaf((channels,), low=low, high=high, constant=constant)
        for low, high in ((-1.5, 1.5), (-1.0, 1.0), (-1.0, 1.0), (0.2, 2.0))
    ]
    d.node(op, [x, *parameters], epsilon=d.one_of((None, 1e-3)))


@row("InstanceNormalization")
def instance_normalization(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 3 and _spread(a, tuple(range(2, a.ndim))))
    channels = d.array(x).shape[1]
    d.node(op, [x, *(d.leaf((channels,), constant=d.chance(0.8)) for _ in range(2))])


@row("GroupNormalization")
def group_normalization(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 3 and _spread(a, tuple(range(2, a.ndim))))
    channels = d.array(x).shape[1]
    groups = d.one_of([k for k in range(1, channels + 1) if channels % k == 0])
    count = channels if d.opset >= 21 else groups
    d.node(op, [x, *(d.leaf((count,), constant=d.chance(0.8)) for _ in range(2))], num_groups=groups)


@row("LayerNormalization", "RMSNormalization")
def layer_normalization(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 1 and _spread(a, (-1,)))
    rank = d.rank(x)
    first = d.between(max(0, rank - 2), rank - 1)
    inner = d.array(x).shape[first:]
    scale = [d.leaf(inner if d.chance(0.8) else inner[-1:], constant=d.chance(0.8))]
    if op == "LayerNormalization" and d.chance(0.7):
        scale.append(d.leaf(d.array(scale[0]).shape, constant=d.chance(0.8)))
    outputs = d.one_of((1, 1, 1, 3)) if op == "LayerNormalization" else 1
    axis = d.one_of((first, first - rank))
    d.node_outputs(op, [x, *scale], outputs, axis=axis, epsilon=d.one_of((None, 1e-5, 1e-3)))


def _spread(array: np.ndarray[Any, Any], axes: tuple[int, ...]) -> bool:
    """Whether the elements to normalise differ: where they do not, the result is noise over epsilon."""
    return bool(array.std(axis=axes).min() > 0.05)


@row("LRN")
def local_response(d: Draft, op: str) -> None:
    if d.dtype != "float32":
        raise Unfit
    d.node(op, [d.pick(rank=4)], size=d.one_of((1, 3, 5)), alpha=d.one_of((None, 0.1)), bias=d.one_of((None, 2.0)))


@row("LpNormalization")
def lp_normalization(d: Draft, op: str) -> None:
    x = d.pick(fits=lambda a: a.ndim >= 1 and min(a.shape) > 0)
    axis = d.axis(d.rank(x))
    if np.abs(d.array(x)).sum(axis=axis).min() < 0.1:
        raise Unfit
    d.node(op, [x], axis=axis, p=d.one_of((None, 1, 2)))


@row("Col2Im")
def columns_to_image(d: Draft, op: str) -> None:
    if d.dtype != "float32":
        raise Unfit
    block = [d.between(1, 3), d.between(1, 3)]
    counts = [d.between(1, 5), d.between(1, 5)]
    strides = [d.between(1, 2), d.between(1, 2)]
    extents = [(c - 1) * s + b for c, s, b in zip(counts, strides, block, strict=True)]
    x = d.leaf((d.between(1, 3), d.one_of(CHANNELS[:7]) * block[0] * block[1], counts[0] * counts[1]), constant=False)
    d.node(op, [x, d.parameter(extents), d.parameter(block)], strides=strides)

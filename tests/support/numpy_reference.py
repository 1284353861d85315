"""Convolution and pooling in plain numpy, channels-last: what templates are compared with."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Array = Any


def windows(data: Array, kernel: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]) -> Array:
    """All windows of (N, *space, C): shape (N, *out, *kernel, C)."""
    space = data.shape[1:-1]
    out = [(s - d * (k - 1) - 1) // t + 1 for s, k, t, d in zip(space, kernel, strides, dilation, strict=True)]
    result = np.empty((data.shape[0], *out, *kernel, data.shape[-1]), data.dtype)
    for offset in itertools.product(*map(range, kernel)):
        part = tuple(
            slice(o * d, o * d + (n - 1) * t + 1, t) for o, d, n, t in zip(offset, dilation, out, strides, strict=True)
        )
        result[(slice(None),) * (1 + len(out)) + offset] = data[(slice(None), *part)]
    return result


def pad(data: Array, padding: tuple[int, ...], value: float = 0.0) -> Array:
    """Pads the spatial axes; `padding` holds all leading pads, then all trailing ones."""
    rank = len(padding) // 2
    widths = [(0, 0), *zip(padding[:rank], padding[rank:], strict=True), (0, 0)]
    return np.pad(data, widths, constant_values=value)


def convolution(
    data: Array,
    weights: Array,
    strides: tuple[int, ...],
    padding: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Array:
    """A convolution of (N, *space, C) with (O, *kernel, C // groups), in float64."""
    rank = len(strides)
    view = windows(pad(data.astype("float64"), padding), weights.shape[1:-1], strides, dilation)
    outputs, inputs = weights.shape[0] // groups, weights.shape[-1]
    parts = []
    for group in range(groups):
        lhs = view[..., group * inputs : (group + 1) * inputs]
        rhs = weights[group * outputs : (group + 1) * outputs].astype("float64")
        axes = list(range(1, rank + 2))
        parts.append(np.tensordot(lhs, rhs, axes=([axis + rank for axis in axes], axes)))
    return np.concatenate(parts, axis=-1)

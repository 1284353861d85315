"""Derivatives of convolutions and pools, tap after tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..calibration.samples import Array
from .backward_row import Site, Windows


def convolution(site: Site) -> Sequence[Array]:
    """Of the image, of the weights, and of the bias where there is one: products of matrices, each group by itself."""
    image, weights, *bias = site.inputs
    groups = site.attribute("group", 1)
    windows = Windows(site, weights.shape[2:])
    padded = windows.padded(image)
    gradient = site.gradient
    batch, outputs, *space = gradient.shape
    taps = list(windows.taps())
    # [groups, batch * places, channels of a group, taps]
    read = np.stack([padded[tap] for tap in taps], axis=-1)
    columns = np.moveaxis(read.reshape(batch, groups, -1, *space, len(taps)), (1, 2), (0, -2))
    columns = columns.reshape(groups, batch * int(np.prod(space)), -1)
    results = np.moveaxis(gradient.reshape(batch, groups, -1, *space), (1, 2), (0, -1)).reshape(
        groups, columns.shape[1], -1
    )
    to_weights = (results.transpose(0, 2, 1) @ columns).reshape(weights.shape)
    matrix = weights.reshape(groups, outputs // groups, -1)
    back = (results @ matrix).reshape(groups, batch, *space, -1, len(taps))
    back = np.moveaxis(back, (0, -2), (1, 2)).reshape(batch, -1, *space, len(taps))
    gathered = np.zeros_like(padded)
    for number, tap in enumerate(taps):
        gathered[tap] += back[..., number]
    axes = (0, *range(2, gradient.ndim))
    return [windows.cropped(gathered), to_weights, *(gradient.sum(axis=axes) for _ in bias)]


def max_pool(site: Site) -> Sequence[Array]:
    """Each gradient goes to the first place that has the maximum."""
    windows = Windows(site, site.attribute("kernel_shape", ()))
    padded = windows.padded(site.inputs[0], -np.inf)
    gathered, left = np.zeros_like(padded), np.ones(site.outputs[0].shape, bool)
    for tap in windows.taps():
        here = left & (padded[tap] == site.outputs[0])
        gathered[tap] += site.gradient * here
        left &= ~here
    return (windows.cropped(gathered),)


def average_pool(site: Site) -> Sequence[Array]:
    """Each gradient in equal parts to all places of a window."""
    windows = Windows(site, site.attribute("kernel_shape", ()))
    everywhere = site.attribute("count_include_pad", 0)
    counted = windows.padded(np.ones_like(site.inputs[0]), 1.0 if everywhere else 0.0)
    taps = list(windows.taps())
    share = site.gradient / np.maximum(sum(counted[tap] for tap in taps), 1)
    gathered = np.zeros_like(counted)
    for tap in taps:
        gathered[tap] += share
    return (windows.cropped(gathered),)

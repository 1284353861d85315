"""Derivatives of convolutions and pools, of all taps of a kernel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..calibration.samples import Array
from .backward_row import Site, Windows


def convolution(site: Site) -> Sequence[Array]:
    """Of the image, of the weights, and of the bias where there is one."""
    image, weights, *bias = site.inputs
    windows = Windows(site, weights.shape[2:])
    padded, gradient = windows.padded(image), site.gradient
    of_numbers = weights.shape[1] == weights.shape[0] // site.attribute("group", 1) == 1
    gathered, to_weights = (_depthwise if of_numbers else _products)(site, windows, padded)
    axes = (0, *range(2, gradient.ndim))
    return [windows.cropped(gathered), to_weights, *(gradient.sum(axis=axes) for _ in bias)]


def _products(site: Site, windows: Windows, padded: Array) -> tuple[Array, Array]:
    """Of the padded image and of the weights: for each group a product of matrices each, of all taps."""
    weights, gradient = site.inputs[1], site.gradient
    groups, inputs = site.attribute("group", 1), weights.shape[1]
    batch, outputs, *space = gradient.shape
    taps = list(windows.taps())
    results = gradient.reshape(batch, groups, outputs // groups, -1)
    # [batch, groups, taps, channels of a group, places]: rows of places, which are copied whole
    read = np.stack([padded[tap].reshape(batch, groups, inputs, -1) for tap in taps], axis=2)
    to_weights = results @ read.reshape(batch, groups, len(taps) * inputs, -1).swapaxes(-1, -2)
    to_weights = to_weights.sum(axis=0).reshape(groups, outputs // groups, len(taps), inputs)
    kernels = weights.reshape(groups, outputs // groups, inputs, len(taps)).transpose(0, 3, 2, 1)
    back = (kernels.reshape(groups, len(taps) * inputs, -1) @ results).reshape(read.shape)
    gathered = np.zeros_like(padded)
    for number, tap in enumerate(taps):
        gathered[tap] += back[:, :, number].reshape(batch, -1, *space)
    return gathered, np.moveaxis(to_weights, 2, -1).reshape(weights.shape)


def _depthwise(site: Site, windows: Windows, padded: Array) -> tuple[Array, Array]:
    """The same where a group is one channel, and each tap one number of it."""
    weights, gradient = site.inputs[1], site.gradient
    batch, channels, *space = gradient.shape
    results = gradient.reshape(batch, channels, -1)
    kernels = weights.reshape(channels, -1)
    gathered, to_weights = np.zeros_like(padded), np.empty_like(kernels)
    for number, tap in enumerate(windows.taps()):
        to_weights[:, number] = np.einsum("bcp,bcp->c", padded[tap].reshape(batch, channels, -1), results)
        gathered[tap] += (results * kernels[:, number, None]).reshape(batch, channels, *space)
    return gathered, to_weights.reshape(weights.shape)


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

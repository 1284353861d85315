"""Derivatives of convolutions and pools, tap after tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..calibration.samples import Array
from .backward_row import Site, Windows


def convolution(site: Site) -> Sequence[Array]:
    """Of the image, of the weights, and of the bias where there is one: tap after tap, each a product of matrices."""
    image, weights, *bias = site.inputs
    groups = site.attribute("group", 1)
    windows = Windows(site, weights.shape[2:])
    padded = windows.padded(image)
    gradient = site.gradient
    batch, outputs = gradient.shape[:2]
    results = gradient.reshape(batch, groups, outputs // groups, -1)
    to_weights = np.empty((int(np.prod(weights.shape[2:])), groups, outputs // groups, weights.shape[1]), weights.dtype)
    matrices = np.moveaxis(weights.reshape(groups, outputs // groups, weights.shape[1], -1), -1, 0)
    product = _by_channel if weights.shape[1] == outputs // groups == 1 else _by_matrix
    gathered = np.zeros_like(padded)
    for number, tap in enumerate(windows.taps()):
        read = padded[tap].reshape(batch, groups, weights.shape[1], -1)
        to_weights[number], back = product(read, results, np.ascontiguousarray(matrices[number]))
        gathered[tap] += back.reshape(batch, -1, *gradient.shape[2:])
    axes = (0, *range(2, gradient.ndim))
    to_weights = np.moveaxis(to_weights.reshape(-1, *weights.shape[:2]), 0, -1).reshape(weights.shape)
    return [windows.cropped(gathered), to_weights, *(gradient.sum(axis=axes) for _ in bias)]


def _by_matrix(read: Array, results: Array, matrix: Array) -> tuple[Array, Array]:
    """Of one tap the gradients of weights and of what is read, [batch, groups, inputs of a group, places].

    Args:
        results: the gradients of results, [batch, groups, outputs of a group, places].
        matrix: the weights, [groups, outputs of a group, inputs of a group].
    """
    return (results @ read.swapaxes(-1, -2)).sum(axis=0), matrix.swapaxes(-1, -2) @ results


def _by_channel(read: Array, results: Array, matrix: Array) -> tuple[Array, Array]:
    """The same where each group is one channel: products of numbers are all there is."""
    return np.einsum("bgip,bgop->goi", read, results), matrix * results


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

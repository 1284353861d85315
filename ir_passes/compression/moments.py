"""Second moments of what layers multiply their weights with: all that closed forms need of calibration data."""

from __future__ import annotations

import numpy as np

from ..core.constants import Array
from .weight_matrix import WeightMatrix

_MOST_BYTES = 64 << 20  # of inputs, side by side, at a time


def second_moments(layer: WeightMatrix, inputs: Array) -> Array | None:
    """The sum of x x^T over all x that the weights are multiplied with, (groups, inputs, inputs), float64.

    Args:
        inputs: the layer's first operand, of any batch: (N, channels, *space) of convolutions, (..., k) of products.

    Returns:
        None for products that have weights of their own for each of a batch.
    """
    if layer.is_convolution:
        return sum(
            (_of_image(layer, image) for image in np.asarray(inputs, np.float64)),
            start=np.zeros((1, 1, 1)),
        )
    if layer.linear.weights.ndim > 2:
        return None
    rows = np.asarray(inputs, np.float64).reshape(-1, layer.linear.weights.shape[0])
    return (rows.T @ rows)[None]


def _of_image(layer: WeightMatrix, image: Array) -> Array:
    """The same of (channels, *space)."""
    attributes, rank = layer.call.attrs, image.ndim - 1
    groups, kernel = layer.linear.groups, layer.linear.weights.shape[2:]
    padding, strides, dilation = (
        [int(each) for each in values] for values in (attributes.padding, attributes.strides, attributes.dilation)
    )
    image = np.pad(image, [(0, 0), *zip(padding[:rank], padding[rank:], strict=True)])
    reach = [step * (extent - 1) + 1 for step, extent in zip(dilation, kernel, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(image, reach, axis=tuple(range(1, rank + 1)))
    places = tuple(slice(None, None, step) for step in strides)
    windows = windows[(slice(None), *places, *(slice(None, None, step) for step in dilation))]
    # (groups, channels, *places, *kernel) -> (groups, places, kernel, channels)
    windows = windows.reshape(groups, -1, *windows.shape[1:])
    moments = np.zeros((1, 1, 1))
    step = max(1, _MOST_BYTES // max(1, windows[:, :, :1].size * 8))
    for first in range(0, windows.shape[2], step):
        part = np.moveaxis(windows[:, :, first : first + step], 1, -1)
        rows = part.reshape(groups, -1, np.prod(kernel, dtype=int) * windows.shape[1])
        moments = moments + rows.swapaxes(1, 2) @ rows
    return moments

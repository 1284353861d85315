"""What a row of the table of derivatives is given: a node, the values at its border, and gradients of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from ..calibration.samples import Array


@dataclass(frozen=True)
class Site:
    """A node on the way back.

    Attributes:
        node: as the model has it.
        inputs, outputs: the values of those that are there.
        gradients: of its outputs.
    """

    node: onnx.NodeProto
    inputs: tuple[Array, ...]
    outputs: tuple[Array, ...]
    gradients: tuple[Array, ...]

    def attribute(self, name: str, default: Any) -> Any:
        """The value of an attribute."""
        for each in self.node.attribute:
            if each.name == name:
                return onnx.helper.get_attribute_value(each)
        return default

    def operand(self, place: int) -> Array | None:
        """The input at a place, where that is given: those that are left out before it have none in `inputs`."""
        names = self.node.input
        if place >= len(names) or not names[place]:
            return None
        return self.inputs[sum(1 for name in names[:place] if name)]

    @property
    def gradient(self) -> Array:
        """That of its first output."""
        return self.gradients[0]


# Gives the gradients of a node's inputs, in order; None, or nothing behind the last, where nobody asks.
Row = Callable[[Site], Sequence["Array | None"]]


def summed_to(gradient: Array, shape: Sequence[int]) -> Array:
    """The gradient of an operand of this shape, of that of the result to which it was broadcast."""
    leading = gradient.ndim - len(shape)
    axes = (*range(leading), *(leading + axis for axis, size in enumerate(shape) if size == 1))
    return gradient.sum(axis=axes, keepdims=True).reshape(shape) if axes else gradient


class Windows:
    """Where a kernel looks: for each of its taps the places of a padded image that it reads.

    Args:
        site: a convolution or a pool.
        kernel: the extents of its kernel.
    """

    def __init__(self, site: Site, kernel: Sequence[int]) -> None:
        rank = len(kernel)
        self._space, self._result = site.inputs[0].shape[2:], site.outputs[0].shape[2:]
        self._strides = site.attribute("strides", [1] * rank)
        self._dilations = site.attribute("dilations", [1] * rank)
        self._kernel = tuple(kernel)
        self._before = self._pads(site, rank)

    def _pads(self, site: Site, rank: int) -> list[int]:
        mode = site.attribute("auto_pad", b"NOTSET")
        if mode not in (b"SAME_UPPER", b"SAME_LOWER"):
            return list(site.attribute("pads", [0] * (2 * rank)))[:rank]
        wanted = [max(0, reach - size) for reach, size in zip(self._reach(), self._space, strict=True)]
        return [each // 2 if mode == b"SAME_UPPER" else each - each // 2 for each in wanted]

    def _reach(self) -> list[int]:
        """How far along each axis any tap reaches, from the first place on."""
        sizes = zip(self._result, self._strides, self._kernel, self._dilations, strict=True)
        return [(result - 1) * stride + (taps - 1) * dilation + 1 for result, stride, taps, dilation in sizes]

    def padded(self, image: Array, value: float = 0.0) -> Array:
        """An image with all places that taps read."""
        sizes = zip(self._before, self._reach(), self._space, strict=True)
        pads = [(before, max(0, reach - before - size)) for before, reach, size in sizes]
        return np.pad(image, [(0, 0), (0, 0), *pads], constant_values=value)

    def cropped(self, padded: Array) -> Array:
        """The image in a padded one."""
        inside = (slice(before, before + size) for before, size in zip(self._before, self._space, strict=True))
        return padded[(slice(None), slice(None), *inside)]

    def taps(self) -> Iterator[tuple[slice, ...]]:
        """For each tap, in the order of the kernel's elements, what it reads of a padded image."""
        for tap in np.ndindex(*self._kernel):
            sizes = zip(tap, self._dilations, self._strides, self._result, strict=True)
            places = (slice(t * d, t * d + (n - 1) * s + 1, s) for t, d, s, n in sizes)
            yield (slice(None), slice(None), *places)

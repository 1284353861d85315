"""The sizes of a convolution, and its first operand: an element of the image for a pixel and a place in its window."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from ...ir_types import Scalar
from ..templates.microkernel import Microkernel
from ..tensorir.expressions import unflatten
from ..tensorir.padding import within


@dataclass(frozen=True)
class Geometry:
    """A convolution of any spatial rank: data (N, *space, C), weights (O, *kernel, C // groups)."""

    data: tuple[int, ...]
    weights: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]  # all the leading pads, then all the trailing pads
    dilation: tuple[int, ...]
    groups: int
    fill: int = 0  # what the padding is

    @property
    def kernel(self) -> tuple[int, ...]:
        """Extents of the kernel."""
        return self.weights[1:-1]

    @property
    def padded(self) -> tuple[int, ...]:
        """Spatial extents of the data with its padding."""
        rank = len(self.kernel)
        return tuple(
            extent + self.padding[axis] + self.padding[rank + axis] for axis, extent in enumerate(self.data[1:-1])
        )

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result, (N, *space, O)."""
        space = (
            (extent - dilation * (kernel - 1) - 1) // stride + 1
            for extent, kernel, stride, dilation in zip(
                self.padded, self.kernel, self.strides, self.dilation, strict=True
            )
        )
        return (self.data[0], *space, self.weights[0])

    @property
    def is_depthwise(self) -> bool:
        """One input channel a group, and as many output channels as input channels."""
        return self.groups == self.data[-1] == self.weights[0] and self.groups > 1

    @property
    def is_pointwise(self) -> bool:
        """Whether every pixel of the output is made of the pixel of the data at the same place."""
        return math.prod(self.kernel) == 1 and self.padded == self.data[1:-1] and max(self.strides) == 1


def pixels_of(
    data: te.Tensor, geometry: Geometry, multiply: Microkernel, channels: int
) -> Callable[[Any, Any, list[Any], Any], Scalar]:
    """A at (group, pixel, offsets in the kernel, channel of the group), from the data with all the zeros it needs."""
    depth = geometry.weights[-1]
    pixels = geometry.output[:-1]
    rows = multiply.rows_read
    if geometry.is_pointwise:
        extents = (geometry.groups, math.prod(pixels), depth)

        def element(group: Any, row: Any, channel: Any) -> Scalar:
            return data[(*unflatten(row, pixels), group * depth + channel)]

        source = multiply.operand(element, extents, (geometry.groups, rows, channels), (0, 0, 0))
        return lambda group, row, offsets, channel: source(group, row, channel)

    rank = len(geometry.kernel)
    lines = (*pixels[:-1], rows // math.prod(pixels[:-1]))
    space = list(geometry.padded)
    if lines[-1] > pixels[-1]:
        reach = (lines[-1] - 1) * geometry.strides[-1] + (geometry.kernel[-1] - 1) * geometry.dilation[-1] + 1
        space[-1] = max(space[-1], reach)
    shape = (geometry.data[0], *space, geometry.data[-1] + channels - depth)
    before = (0, *geometry.padding[:rank], 0)
    image = multiply.operand(lambda *index: data[index], geometry.data, shape, before, geometry.fill)

    def pixel(group: Any, row: Any, offsets: list[Any], channel: Any) -> Scalar:
        number, *position = unflatten(row, lines)
        point = [
            at * stride + offset * dilation
            for at, stride, offset, dilation in zip(position, geometry.strides, offsets, geometry.dilation, strict=True)
        ]
        return image(number, *point, group * depth + channel)

    return pixel


def windows_of(data: te.Tensor, geometry: Geometry, multiply: Microkernel, run: int) -> Callable[[Any, Any], Scalar]:
    """A at (pixel, place in its window): windows side by side, and zeros behind each."""
    pixels, rows = geometry.output[:-1], multiply.rows_read
    lines = (*pixels[:-1], rows // math.prod(pixels[:-1]))
    axes = list(
        zip(
            geometry.data[1:-1],
            lines[1:],
            geometry.kernel,
            geometry.strides,
            geometry.dilation,
            geometry.padding,
            strict=False,
        )
    )

    def element(*index: Any) -> Scalar:
        image, *position, place = index
        *offsets, channel = unflatten(place, geometry.weights[1:])
        source, inside = [], []
        for at, offset, (extent, line, kernel, stride, dilation, before) in zip(position, offsets, axes, strict=True):
            point = at * stride + offset * dilation - before
            source.append(point)
            inside += [point >= 0] if before else []
            inside += [point < extent] if (line - 1) * stride + (kernel - 1) * dilation - before >= extent else []
        own = data[(image, *source, channel)]
        fill = tirx.const(geometry.fill, str(data.dtype))
        return within(tirx.if_then_else(tirx.all(*inside), own, fill) if inside else own, place, length, run)

    length, shape = math.prod(geometry.weights[1:]), (*lines, run)
    held = multiply.operand(element, shape, shape, (0,) * len(shape))
    return lambda row, place: held(*unflatten(row, lines), place)

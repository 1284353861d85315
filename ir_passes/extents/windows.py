"""Rules of operators that look at windows of images: convolutions and pools."""

from __future__ import annotations

import math

import numpy as np

from ...sizes import quotient
from ..core.constants import array_of
from ..dialect.interpolation import axes_of, tables_of
from ..dialect.within import TOGETHER
from .digits import Axis, Digit, Extents, any_varies, axis_of, bound_of, varies, whole
from .step import Step


def _window_axis(
    step: Step,
    axis: Axis,
    place: int,
    kernel: int,
    stride: int,
    dilation: int,
    pads: tuple[int, int],
    *,
    ceil: bool = False,
) -> Axis:
    """An axis of the results of windows along one."""
    if not varies(axis):
        return whole([step.shape[place]])[0]
    if len(axis) > 1:
        raise step.refused(f"windows move along axis {place}, which is several dimensions")
    (digit,) = axis
    reach = dilation * (kernel - 1) + 1
    if ceil and pads[1] + stride > reach:  # it might begin behind the image, and then it would not count
        raise step.refused("whether its last window counts depends on a size that varies")
    size = quotient(digit.size + (sum(pads) - reach + (stride - 1 if ceil else 0)), stride) + 1
    return axis_of([Digit(step.shape[place], size)])


def convolution(step: Step) -> Extents:
    """Zeros are around what is there of an image."""
    attributes, (data, weights, *_) = step.call.attrs, step.operands
    rank = len(data) - 2
    if any_varies(weights) or varies(data[-1]):
        raise step.refused("its channels or weights vary")
    if not str(attributes.data_layout).endswith("C"):
        raise step.refused("its images are not laid out as others")
    space = data[1:-1]
    padding = [int(each) for each in attributes.padding]
    pads = list(zip(padding[:rank], padding[rank:], strict=True))
    kernel = [bound_of(axis) for axis in weights[1:-1]]
    if any(varies(axis) and (size > 1 or any(pad)) for axis, size, pad in zip(space, kernel, pads, strict=True)):
        step.fill(0, 0, {0: 0, **{1 + place: pad + TOGETHER - 1 for place, (_, pad) in enumerate(pads)}})
    axes = [
        _window_axis(
            step,
            axis,
            1 + place,
            kernel[place],
            int(attributes.strides[place]),
            int(attributes.dilation[place]),
            pads[place],
        )
        for place, axis in enumerate(space)
    ]
    return (data[0], *axes, *whole([step.shape[-1]]))


def interpolation(step: Step) -> Extents:
    """Tables say what an element is made of: of fewer elements the beginnings of the tables for the most.

    Of tables that are computed when it runs as much is there as of the result, and places are inside of the image; what
    is not there of them must lie somewhere all the same.
    """
    data = step.operands[0]
    axes = list(data)
    reach = dict.fromkeys(range(len(data)), 0)
    tables = tables_of(list(step.call.args)[1:])
    for number, (axis, (table, _)) in enumerate(zip(axes_of(step.call), tables, strict=True)):
        if len(data[axis]) > 1:
            raise step.refused(f"axis {axis} is several dimensions")
        positions, place = array_of(table), 1 + 2 * number
        if positions is None:
            axes[axis] = step.operands[place][0]
            step.fill(place, 0)
            continue
        if not varies(data[axis]):
            axes[axis] = whole([step.shape[axis]])[0]
            continue
        times = step.shape[axis] // bound_of(data[axis])
        if step.shape[axis] % bound_of(data[axis]):
            raise step.refused(f"axis {axis} grows by no whole number")
        (digit,) = data[axis]
        axes[axis] = axis_of([Digit(step.shape[axis], digit.size * times)])
        last = np.arange(step.shape[axis])[:, None] // times
        reach[axis] = max(int((positions - last).max()), 0)
    if any(reach.values()):
        step.fill(0, None, reach)
    return tuple(axes)


def pool(step: Step) -> Extents:
    """Windows that take no notice of what is not there."""
    attributes, (data, *_) = step.call.attrs, step.operands
    rank = len(data) - 2
    if varies(data[-1]) or not str(attributes.layout).endswith("C"):
        raise step.refused("its channels vary, or its images are not laid out as others")
    padding = [int(each) for each in attributes.padding]
    pads = list(zip(padding[:rank], padding[rank:], strict=True))
    space = data[1:-1]
    ceil = bool(attributes.ceil_mode)
    beyond = [pad + (int(each) - 1 if ceil else 0) for (_, pad), each in zip(pads, attributes.strides, strict=True)]
    moving = [place for place, axis in enumerate(space) if varies(axis)]
    if moving:
        is_max = "max" in step.name
        if not is_max and any(any(pads[place]) or ceil for place in moving) and not bool(attributes.count_include_pad):
            raise step.refused("how many elements its windows have depends on a size that varies")
        reach = {0: 0, **{1 + place: each for place, each in enumerate(beyond)}}
        step.fill(0, -math.inf if is_max else 0, reach)
    axes = [
        _window_axis(
            step,
            axis,
            1 + place,
            int(attributes.pool_size[place]),
            int(attributes.strides[place]),
            int(attributes.dilation[place]),
            pads[place],
            ceil=ceil,
        )
        for place, axis in enumerate(space)
    ]
    return (data[0], *axes, data[-1])

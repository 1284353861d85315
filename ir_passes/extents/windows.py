"""Rules of operators that look at windows of images: convolutions and pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from ...ir_types import Expr
from ...sizes import quotient
from ..core.constants import array_of, constant, numpy_dtype
from ..dialect.interpolation import axes_of, tables_of
from ..dialect.within import TOGETHER
from .digits import Axis, Digit, Extents, any_varies, axis_of, bound_of, size_of, varies, whole
from .step import Emit, Step


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


@dataclass(frozen=True)
class _Window:
    """How windows move along an axis of images."""

    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]


def pool(step: Step) -> Extents:
    """Windows that take no notice of what is not there."""
    attributes, (data, *_) = step.call.attrs, step.operands
    rank = len(data) - 2
    if varies(data[-1]) or not str(attributes.layout).endswith("C"):
        raise step.refused("its channels vary, or its images are not laid out as others")
    padding = [int(each) for each in attributes.padding]
    windows = [
        _Window(int(kernel), int(stride), int(dilation), (before, after))
        for kernel, stride, dilation, before, after in zip(
            attributes.pool_size,
            attributes.strides,
            attributes.dilation,
            padding[:rank],
            padding[rank:],
            strict=True,
        )
    ]
    space = data[1:-1]
    ceil = bool(attributes.ceil_mode)
    beyond = [each.pads[1] + (each.stride - 1 if ceil else 0) for each in windows]
    moving = [place for place, axis in enumerate(space) if varies(axis)]
    axes = [
        _window_axis(step, axis, 1 + place, each.kernel, each.stride, each.dilation, each.pads, ceil=ceil)
        for place, (axis, each) in enumerate(zip(space, windows, strict=True))
    ]
    found = (data[0], *axes, data[-1])
    if moving:
        is_max = "max" in step.name
        reach = {0: 0, **{1 + place: each for place, each in enumerate(beyond)}}
        step.fill(0, -math.inf if is_max else 0, reach)
        incomplete = any(beyond[place] or windows[place].pads[0] for place in moving)
        if incomplete and not is_max and not bool(attributes.count_include_pad):
            _count_elements(step, windows, moving, found)
    return found


def _count_elements(step: Step, windows: Sequence[_Window], moving: Sequence[int], found: Extents) -> None:
    """Means of what windows have of an image: the sum by the whole window, times what that is of those there are."""
    attributes, space, dtype = step.call.attrs, step.operands[0][1:-1], str(step.call.ty.dtype)
    step.sizes = tuple(size_of(space[place]) for place in moving)
    kind = numpy_dtype(dtype)

    def counted(operands: Sequence[Expr], emit: Emit) -> Expr:
        x, *sizes = operands
        total = getattr(relax.op.nn, step.name.removeprefix("nn."))(
            x,
            pool_size=attributes.pool_size,
            strides=attributes.strides,
            padding=attributes.padding,
            dilation=attributes.dilation,
            ceil_mode=bool(attributes.ceil_mode),
            count_include_pad=True,
            layout=str(attributes.layout),
        )
        ends = dict(zip(moving, sizes, strict=True))
        for place, each in enumerate(windows):
            number = step.shape[1 + place]
            taps = (np.arange(number) * each.stride - each.pads[0])[:, None] + np.arange(each.kernel) * each.dilation
            begun = (taps >= 0).astype(kind)
            if place in ends:
                ended = emit(relax.op.astype(emit(relax.op.less(constant(taps), ends[place])), dtype))
                inside = emit(relax.op.sum(emit(relax.op.multiply(ended, constant(begun))), 1))
                least = emit(relax.op.maximum(inside, constant(np.ones((), kind))))
                share = emit(relax.op.divide(constant(np.array(each.kernel, kind)), least))
            else:
                inside = (begun * (taps < bound_of(space[place]))).sum(1)
                share = constant((each.kernel / np.maximum(inside, 1)).astype(kind))
            shape = [number if axis == 1 + place else 1 for axis in range(len(step.shape))]
            total = relax.op.multiply(emit(total, found), emit(relax.op.reshape(share, shape)))
        return total

    step.instead = counted

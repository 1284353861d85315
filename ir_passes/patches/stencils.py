"""Which pixels of its operands an operator reads for a pixel of its result, for operators that can work on patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tvm import DataType, relax

from ...ir_types import Call
from ..core.constants import array_of
from ..core.graph import Expr, Var
from ..core.rewriter import dtype_of, rebuild, shape_of
from ..operators.elementwise import ELEMENTWISE

_RANK = 4  # of a batch of images
_BYTE_BITS = 8


@dataclass(frozen=True)
class Axis:
    """Along an axis of an image: pixel p of the result reads [stride * p - before, ... + reach) of the operand."""

    stride: int = 1
    before: int = 0
    after: int = 0
    reach: int = 1

    @property
    def is_padded(self) -> bool:
        """Whether some pixels read outside of the operand."""
        return self.before > 0 or self.after > 0


# Makes the operator again, on patches of its images; says along which axes there are patches.
Remake = Callable[[Sequence[Expr], tuple[bool, bool]], Expr]


@dataclass(frozen=True)
class Image:
    """The sizes of an image, (1, rows, columns, channels)."""

    rows: int
    columns: int
    channels: int
    element_bytes: int

    @property
    def pixels(self) -> int:
        """How many there are."""
        return self.rows * self.columns

    @property
    def pixel_bytes(self) -> int:
        """The bytes of one."""
        return self.channels * self.element_bytes


@dataclass(frozen=True)
class Stencil:
    """How an operator can be computed on patches.

    Attributes:
        images: the operands that are images of the result's patches; all others are constants.
        axes: rows and columns.
        value: what is read outside of the images.
        work: operations of an element of the result.
        is_pointwise: whether every element is made of the elements at its place.
        copies_padding: whether its kernel stores padding around what it reads.
        remake: makes a call of it.
    """

    images: tuple[Var, ...]
    axes: tuple[Axis, Axis]
    value: float
    work: int
    is_pointwise: bool
    copies_padding: bool
    remake: Remake

    def padding(self, patched: tuple[bool, bool]) -> tuple[int, int]:
        """The rows and columns of padding that are left to it: patches bring their own."""
        rows, columns = (0 if cut else axis.before + axis.after for axis, cut in zip(self.axes, patched, strict=True))
        return rows, columns


def image_of(expr: Expr) -> Image | None:
    """The sizes of a value that may be an image."""
    shape = shape_of(expr)
    if shape is None or len(shape) != _RANK or shape[0] != 1 or 0 in shape:
        return None
    _, rows, columns, channels = shape
    return Image(rows, columns, channels, element_bytes(expr))


def element_bytes(expr: Expr) -> int:
    """The bytes of an element of a tensor."""
    return max(1, int(DataType(dtype_of(expr)).bits) // _BYTE_BITS)


def stencil_of(value: Expr) -> Stencil | None:
    """The stencil of an operator that gives an image; None where it has none."""
    name = str(getattr(getattr(value, "op", None), "name", ""))
    if image_of(value) is None:
        return None
    if name in ELEMENTWISE:
        return _pointwise(value)
    return _TABLE[name](value) if name in _TABLE else None


def _pointwise(call: Call) -> Stencil | None:
    """Operands are images like the result, and constants that are the same for all pixels."""
    shape, images = shape_of(call), []
    for argument in call.args:
        if isinstance(argument, relax.Var):
            if shape_of(argument) != shape:
                return None
            images.append(argument)
        elif (array := array_of(argument)) is not None and math.prod(array.shape[:-1]) != 1:
            return None

    def remake(patches: Sequence[Expr], patched: tuple[bool, bool]) -> Expr:
        given = iter(patches)
        return rebuild(call, [next(given) if isinstance(each, relax.Var) else each for each in call.args])

    return Stencil(tuple(images), (Axis(), Axis()), 0.0, 1, True, False, remake) if images else None


def _convolution(call: Call) -> Stencil | None:
    weights = array_of(call.args[1])
    if str(call.attrs.data_layout) != "NHWC" or str(call.attrs.kernel_layout) != "OHWI" or weights is None:
        return None
    _, *kernel, channels = weights.shape
    axes = _windows(call, kernel)
    return Stencil(
        (call.args[0],),
        axes,
        0.0,
        math.prod(kernel) * channels,
        False,
        len(weights) == 1 or channels > 1,
        lambda patches, patched: rebuild(call, [*patches, call.args[1]], padding=_padding(axes, patched)),
    )


def _max_pool(call: Call) -> Stencil | None:
    if str(call.attrs.layout) != "NHWC":
        return None
    kernel = [int(each) for each in call.attrs.pool_size]
    axes = _windows(call, kernel)
    if bool(call.attrs.ceil_mode):  # the last windows reach further than the padding
        before, after = (shape_of(each) or () for each in (call.args[0], call))
        down, across = (
            replace(axis, after=(windows - 1) * axis.stride + axis.reach - extent - axis.before)
            for extent, windows, axis in zip(before[1:3], after[1:3], axes, strict=True)
        )
        axes = down, across
    dtype = dtype_of(call)
    lowest = float(np.iinfo(dtype).min) if "int" in dtype else -math.inf
    return Stencil(
        (call.args[0],),
        axes,
        lowest,
        math.prod(kernel),
        False,
        False,
        lambda patches, patched: rebuild(call, list(patches), padding=_padding(axes, patched), ceil_mode=False),
    )


def _pad(call: Call) -> Stencil | None:
    widths = [int(each) for each in call.attrs.pad_width]
    first, (top, bottom, left, right), last = widths[:2], widths[2:6], widths[6:]
    if str(call.attrs.pad_mode) != "constant" or any((*first, *last)) or min(widths) < 0:
        return None
    axes = Axis(before=top, after=bottom), Axis(before=left, after=right)

    def remake(patches: Sequence[Expr], patched: tuple[bool, bool]) -> Expr:
        top, left, bottom, right = _padding(axes, patched)
        left_over = [0, 0, top, bottom, left, right, 0, 0]
        (patch,) = patches
        return rebuild(call, [patch, *list(call.args)[1:]], pad_width=left_over) if any(left_over) else patch

    return Stencil((call.args[0],), axes, float(call.attrs.pad_value), 0, False, False, remake)


def _windows(call: Call, kernel: Sequence[int]) -> tuple[Axis, Axis]:
    attributes = call.attrs
    strides, dilation, padding = (
        [int(each) for each in numbers] for numbers in (attributes.strides, attributes.dilation, attributes.padding)
    )
    rows, columns = (Axis(strides[i], padding[i], padding[2 + i], (kernel[i] - 1) * dilation[i] + 1) for i in range(2))
    return rows, columns


def _padding(axes: tuple[Axis, Axis], patched: tuple[bool, bool]) -> list[int]:
    """The padding that is left to an operator: patches bring their own."""
    before = [0 if cut else axis.before for axis, cut in zip(axes, patched, strict=True)]
    after = [0 if cut else axis.after for axis, cut in zip(axes, patched, strict=True)]
    return [*before, *after]


_TABLE: dict[str, Callable[[Call], Stencil | None]] = {
    "relax.nn.conv2d": _convolution,
    "relax.nn.max_pool2d": _max_pool,
    "relax.nn.pad": _pad,
}

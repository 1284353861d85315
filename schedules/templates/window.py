"""Windows over channels-last data: depthwise convolution, pooling and means over space, channels in vector registers.

The loop nest (`out` stands for the output's axes but the last two, `row` for the longest of the loops over space):

    parallel (out..., block of rows, block of panels)        a panel: a tile's channels
        for row in block, tile of the last spatial axis, panel in block
            local sum[positions, vectors, lanes] = identity
            for window offsets                       all but the outermost unrolled where positions share loads
                unrolled positions, unrolled vectors, vectorized lanes
            epilogue(sum) -> output

A block of few panels and many rows finds in L1 what its rows share. A depthwise convolution is not padded in memory:
offsets that fall outside add nothing. Which rows do is the same for a whole row of tiles, which columns do differs in
the first and last tile alone, so the branches are predicted. But long windows along a single axis are: there a branch
would stand before every product (31 offsets of 144 channels took five times as long with vectors of eight).

Where whole axes are reduced and there are few channels, the outermost of those axes is cut into parts, whose results
are combined in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import constant_shape, int64, int64s
from .window_choice import TEMPLATE, Windows

# Offsets that one more store and load of each element are little beside.
_FEWEST_COPIED = 8
# The block of the parts of a reduction.
PARTIAL = "partial"


def _axes(extents: Sequence[int]) -> list[Any]:
    return [te.reduce_axis((int64(0), int64(extent)), f"w{axis}") for axis, extent in enumerate(extents)]


def _positions(
    index: Sequence[Any], offsets: Sequence[Any], strides: Sequence[int], dilation: Sequence[int]
) -> list[Any]:
    return [
        at * stride + offset * step for at, stride, offset, step in zip(index, strides, offsets, dilation, strict=True)
    ]


def copies_padding(windows: Windows, target: Target) -> bool:
    """Whether a depthwise convolution, if products with padding are zero, is faster on data that was padded before."""
    long = len(windows.offsets) == 1 and windows.offsets[0] >= _FEWEST_COPIED
    return long and target.lanes() > 1 and not target.core.single_issue


def weighted_sum(
    data: te.Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    output: Sequence[int],
    weight: Callable[..., Scalar],
    kind: str,
) -> te.Tensor:
    """A depthwise convolution: (N, *space, C) to `output`. Products with padding are not computed at all.

    Args:
        padding: all the leading pads, then all the trailing pads.
        weight: the weight at (*offsets, channel).
        kind: the dtype of products, sums and the result.
    """
    axes = _axes(kernel)
    before, after = padding[: len(kernel)], padding[len(kernel) :]
    extents = constant_shape(data)[1:-1]

    def element(image: Any, *rest: Any) -> Scalar:
        *at, channel = rest
        padded = _positions(at, axes, strides, dilation)
        source = [position - first for position, first in zip(padded, before, strict=True)]
        result = data[(image, *source, channel)].astype(kind) * weight(*axes, channel).astype(kind)
        for position, extent, first, last in reversed(list(zip(source, extents, before, after, strict=True))):
            inside = ([position >= 0] if first else []) + ([position < extent] if last else [])
            if inside:
                result = tirx.if_then_else(tirx.all(*inside), result, tirx.const(0, kind))
        return te.sum(result, axis=axes)

    flops = 2 * math.prod(output) * math.prod(kernel)
    return te.compute(int64s(output), element, name="depthwise", attrs={**ANCHOR.entry(TEMPLATE), **FLOPS.entry(flops)})


def pool(
    source: Callable[..., Scalar],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    output: Sequence[int],
    combine: Callable[..., Scalar],
) -> te.Tensor:
    """Combines every window of (N, *space, C) with `te.max` or `te.sum`.

    Args:
        source: the element at (image, *position, channel), position counted from the first padding.
    """
    axes = _axes(kernel)

    def element(image: Any, *rest: Any) -> Scalar:
        *at, channel = rest
        return combine(source(image, *_positions(at, axes, strides, dilation), channel), axis=axes)

    return te.compute(int64s(output), element, name="pool", attrs=ANCHOR.entry(TEMPLATE))


def reduce_outer(
    source: Callable[..., Scalar],
    shape: Sequence[int],
    axes: Sequence[int],
    combine: Callable[..., Scalar],
    parts: int,
) -> te.Tensor:
    """Reduces some axes of `shape`, not its last: the kept axes remain, in order.

    Args:
        parts: that the first of `axes` is reduced in, before they are combined; a divisor of its extent.
    """
    reduced = dict(zip(axes, _axes([shape[axis] for axis in axes]), strict=True))
    kept = [extent for axis, extent in enumerate(shape) if axis not in reduced]
    run = shape[axes[0]] // parts
    attributes = ANCHOR.entry(TEMPLATE)
    if parts > 1:
        reduced[axes[0]] = _axes([run])[0]

    def element(part: Any, index: Sequence[Any]) -> Scalar:
        remaining = iter(index)
        point = [reduced[axis] if axis in reduced else next(remaining) for axis in range(len(shape))]
        if parts > 1:
            point[axes[0]] = part * run + point[axes[0]]
        return combine(source(*point), axis=list(reduced.values()))

    if parts == 1:
        return te.compute(int64s(kept), lambda *index: element(None, index), name="reduction", attrs=attributes)
    partial = te.compute(
        int64s([parts, *kept]), lambda part, *index: element(part, index), name=PARTIAL, attrs=attributes
    )
    (part,) = _axes([parts])
    return te.compute(
        int64s(kept), lambda *index: combine(partial[(part, *index)], axis=[part]), name="reduction", attrs=attributes
    )


def offsets_in(extent: int, start: Any, kernel: int, dilation: int) -> Any:
    """How many of the window's offsets ``start + i * dilation``, 0 <= i < kernel, lie in [0, extent)."""
    last = tirx.min(int64(kernel - 1), tirx.floordiv(extent - 1 - start, int64(dilation)))
    first = tirx.max(int64(0), tirx.floordiv(dilation - 1 - start, int64(dilation)))
    return last - first + 1

"""Windows over channels-last data: depthwise convolution, pooling and means over space, channels in vector registers.

The loop nest (`out` stands for the output's spatial axes but the last):

    parallel (image, out...)
        for tile of the last spatial axis, tile of channels
            local sum[positions, vectors, lanes] = identity
            for window offsets                       all but the outermost unrolled where positions share loads
                unrolled positions, unrolled vectors, vectorized lanes
            epilogue(sum) -> output

A depthwise convolution is not padded in memory: offsets that fall outside add nothing. Which rows do is the same for a
whole row of tiles, which columns do differs in the first and last tile alone, so the branches are predicted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS
from ...targets.target import Target
from ..tensorir.expressions import Scalar, accumulator, constant_shape, int64, int64s, largest_divisor
from . import plain
from .choices import Choice
from .sharing import thread_counts

TEMPLATE = "window"


# Offsets up to which neighbouring positions share their loads; larger windows are means over space.
_SHARED_OFFSETS = 81
_MAX_POSITIONS = 8
_MAX_VECTORS = 4
_LOADS_PER_CYCLE, _SUMS_PER_CYCLE, _SUM_LATENCY = 2, 2, 4


@dataclass(frozen=True)
class Windows:
    """What windows are combined.

    Attributes:
        output: extents of the result, channels last.
        offsets: extents of a window.
    """

    output: tuple[int, ...]
    offsets: tuple[int, ...]


@dataclass(frozen=True)
class WindowChoice(Choice):
    """A tile of ``positions`` and ``vectors`` of ``lanes`` channels; so many ``threads`` at most share the rest."""

    positions: int
    vectors: int
    lanes: int
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Windows."""
    return isinstance(workload, Windows)


def space(workload: Windows, target: Target) -> Iterator[WindowChoice]:
    """All tiles that fit the registers."""
    channels = workload.output[-1]
    most = plain.lanes_for(channels, target)
    for lanes in (1 << power for power in range(most.bit_length())):
        for vectors in range(1, _MAX_VECTORS + 1):
            if math.ceil(channels / lanes) % vectors:
                continue
            for positions in range(1, _most_positions(workload, lanes) + 1):
                if positions * vectors <= target.num_vector_registers // 2:
                    for threads in thread_counts(target):
                        yield WindowChoice(positions, vectors, lanes, threads)


def _most_positions(workload: Windows, lanes: int) -> int:
    shares = lanes > 1 and len(workload.output) > 2 and math.prod(workload.offsets) <= _SHARED_OFFSETS
    return min(workload.output[-2], _MAX_POSITIONS) if shares else 1


def default(workload: Windows, target: Target) -> WindowChoice:
    """Small windows share loads among positions; large ones (means over space) hide latency with several registers."""
    lanes = plain.lanes_for(workload.output[-1], target)
    shared = math.prod((*workload.output, *workload.offsets)) >= plain.PARALLEL_ELEMENTS
    threads = target.cores if shared else 1
    most = _most_positions(workload, lanes)
    if lanes > 1 and len(workload.output) > 2 and math.prod(workload.offsets) <= _SHARED_OFFSETS:
        # The fewest computed in vain, and of those the most.
        extent = workload.output[-2]
        counts = range(min(extent, _MAX_POSITIONS // 2), most + 1)
        positions = min(counts, key=lambda count: (math.ceil(extent / count) * count, -count))
        return WindowChoice(positions, 1, lanes, threads)
    vectors = largest_divisor(math.ceil(workload.output[-1] / lanes), _MAX_VECTORS)
    return WindowChoice(1, vectors, lanes, threads)


def estimate(workload: Windows, choice: WindowChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in the caches: each tile loads what its positions share once."""
    *outer, channels = workload.output
    last = outer.pop() if outer else 1
    tiles = math.prod(outer) * math.ceil(last / choice.positions)
    tiles *= math.ceil(channels / (choice.vectors * choice.lanes))
    *before, line = workload.offsets or (1,)
    sums = choice.positions * choice.vectors
    loads = choice.vectors * (choice.positions + line - 1)
    step = max(line * sums / _SUMS_PER_CYCLE, loads / _LOADS_PER_CYCLE, line * _SUM_LATENCY)
    return tiles * math.prod(before) * step / choice.threads


def _axes(extents: Sequence[int]) -> list[Any]:
    return [te.reduce_axis((int64(0), int64(extent)), f"w{axis}") for axis, extent in enumerate(extents)]


def _positions(
    index: Sequence[Any], offsets: Sequence[Any], strides: Sequence[int], dilation: Sequence[int]
) -> list[Any]:
    return [
        at * stride + offset * step for at, stride, offset, step in zip(index, strides, offsets, dilation, strict=True)
    ]


def weighted_sum(
    data: te.Tensor,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    output: Sequence[int],
    weight: Callable[..., Scalar],
) -> te.Tensor:
    """A depthwise convolution: (N, *space, C) to `output`. Products with padding are not computed at all.

    The result is of the accumulator's dtype.

    Args:
        padding: all the leading pads, then all the trailing pads.
        weight: the weight at (*offsets, channel).
    """
    axes = _axes(kernel)
    before, after = padding[: len(kernel)], padding[len(kernel) :]
    extents = constant_shape(data)[1:-1]
    kind = accumulator(str(data.dtype))

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
) -> te.Tensor:
    """Reduces some axes of `shape`, not its last: the kept axes remain, in order."""
    reduced = dict(zip(axes, _axes([shape[axis] for axis in axes]), strict=True))
    kept = [extent for axis, extent in enumerate(shape) if axis not in reduced]

    def element(*index: Any) -> Scalar:
        remaining = iter(index)
        point = [reduced[axis] if axis in reduced else next(remaining) for axis in range(len(shape))]
        return combine(source(*point), axis=list(reduced.values()))

    return te.compute(int64s(kept), element, name="reduction", attrs=ANCHOR.entry(TEMPLATE))


def offsets_in(extent: int, start: Any, kernel: int, dilation: int) -> Any:
    """How many of the window's offsets ``start + i * dilation``, 0 <= i < kernel, lie in [0, extent)."""
    last = tirx.min(int64(kernel - 1), tirx.floordiv(extent - 1 - start, int64(dilation)))
    first = tirx.max(int64(0), tirx.floordiv(dilation - 1 - start, int64(dilation)))
    return last - first + 1

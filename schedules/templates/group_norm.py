"""Group and instance normalisation, channels last: statistics of channels in vector registers, read from memory once.

The mean and the sum of squared differences from it are taken block by block of pixels: the block is read from memory
for its mean, and a second time from the L1 cache. Blocks and the channels of a group are then joined by the formula of
Chan, Golub and LeVeque (1979): the squares of a union are those of its parts, and each part's size times the square of
the distance of its mean from the common one. No difference of large sums is ever taken. The loop nest:

    parallel (image, block of pixels, panel of channels)
        for pixel of block: local sum[vectors, lanes] += x               in registers
        averages = sum / pixels of the block
        for pixel of block: local square[vectors, lanes] += (x - average)^2
        parts = average, square
    for image, channel, group: mean, 1 / deviation                       small: a number a channel
    parallel (image, pixel...)
        for channel, vectorized: epilogue((x - mean) * scale + shift) -> output
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from ...annotations import ANCHOR, FLOPS, STAGE
from ...ir_types import Scalar
from ...targets.target import Target
from ..tensorir.expressions import constant_shape, int64, int64s, unflatten
from . import plain
from .choices import Choice
from .sharing import best_threads, elapsed, thread_counts

TEMPLATE = "group_norm"
# The blocks that the schedule knows by name, in order; those between the parts and the result are numbers a channel.
SUMS, AVERAGES, SQUARES, PARTS, RESULT = "block_sums", "block_averages", "block_squares", "block_parts", "normalized"
# Operations an element: two for the mean, three for the squares, three for the result.
_FLOPS = 8
_MAX_VECTORS = 8
_BLOCKS = (8, 16, 32, 64, 128)
# The share of L1 that a block of pixels may take of its own accord.
_L1_SHARE = 0.5
_OUTPUT_LOADS = 4
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class Groups:
    """What is normalised: so many images of so many pixels, their channels in groups.

    Attributes:
        dtype: that statistics are taken in.
    """

    images: int
    pixels: int
    channels: int
    groups: int
    dtype: str


@dataclass(frozen=True)
class GroupNormChoice(Choice):
    """Statistics are taken of blocks of so many ``pixels``, in panels of ``vectors`` of ``lanes`` channels.

    At most so many ``threads`` share the blocks, and then the pixels.
    """

    pixels: int
    vectors: int
    lanes: int
    threads: int = 1


def takes(workload: object, target: Target) -> bool:
    """Groups of channels."""
    return isinstance(workload, Groups)


def space(workload: Groups, target: Target) -> Iterator[GroupNormChoice]:
    """All panels whose sums and means fit the registers, in blocks of pixels up to all of them."""
    lanes = plain.lanes_for(workload.channels, target)
    for vectors in _panels(workload, lanes, target):
        for pixels in block_sizes(workload):
            for threads in thread_counts(target):
                yield GroupNormChoice(pixels, vectors, lanes, threads)


def block_sizes(workload: Groups) -> list[int]:
    """Pixels that a block may have."""
    return sorted({min(each, workload.pixels) for each in (*_BLOCKS, workload.pixels)})


def _panels(workload: Groups, lanes: int, target: Target) -> list[int]:
    """Vectors of a panel: those that divide the channels, a sum and a mean of each in a register."""
    registers = math.ceil(workload.channels / lanes)
    most = min(_MAX_VECTORS, target.num_vector_registers // 2 - 1)
    return [each for each in range(1, most + 1) if registers % each == 0]


def default(workload: Groups, target: Target) -> GroupNormChoice:
    """The widest panel, and as many pixels as stay in the L1 cache: lines are read in order, and few blocks joined."""
    lanes = plain.lanes_for(workload.channels, target)
    vectors = max(_panels(workload, lanes, target))
    fitting = int(target.l1_bytes * _L1_SHARE) // (vectors * lanes * _FLOAT_BYTES)
    pixels = min(workload.pixels, max(each for each in _BLOCKS if each <= max(fitting, _BLOCKS[0])))
    choice = GroupNormChoice(pixels, vectors, lanes)
    cycles = estimate(workload, choice, target)
    return GroupNormChoice(pixels, vectors, lanes, best_threads(cycles, _tasks(workload, choice), target))


def _tasks(workload: Groups, choice: GroupNormChoice) -> int:
    """Iterations of the shorter of the two parallel loops."""
    panels = math.ceil(workload.channels / (choice.vectors * choice.lanes))
    return workload.images * min(math.ceil(workload.pixels / choice.pixels) * panels, workload.pixels)


def estimate(workload: Groups, choice: GroupNormChoice, target: Target) -> float:
    """Estimated cycles until all cores are done, data in the L3 cache: it is read twice from there, and written."""
    core = target.core
    panels = workload.images * math.ceil(workload.channels / (choice.vectors * choice.lanes))
    vectors = panels * choice.vectors
    vector_bytes = target.vector_bits // 8
    moved = vectors * workload.pixels * vector_bytes / core.l3_bytes_per_cycle
    steps = max(choice.vectors / core.loads_per_cycle, core.fma_latency)
    sums = 2 * panels * workload.pixels * steps
    blocks = math.ceil(workload.pixels / choice.pixels)
    joined = (2 * blocks * vectors + 2 * workload.images * workload.channels) * core.fma_latency / 2
    result = vectors * workload.pixels * _OUTPUT_LOADS / core.loads_per_cycle
    cycles = max(sums / 2, moved) + sums / 2 + max(result, 2 * moved)
    return joined + elapsed(cycles, _tasks(workload, choice), choice.threads, target)


def compute(
    workload: Groups,
    choice: GroupNormChoice,
    target: Target,
    data: te.Tensor,
    gamma: te.Tensor,
    beta: te.Tensor,
    *,
    epsilon: float,
) -> te.Tensor:
    """The result, of the shape and dtype of the data: (images, *space, channels).

    Args:
        gamma, beta: by channel.
    """
    kind, size = workload.dtype, choice.pixels
    images, _, channels, groups = workload.images, workload.pixels, workload.channels, workload.groups
    inner = channels // groups
    count = math.ceil(workload.pixels / size)
    space = constant_shape(data)[1:-1]
    zero = tirx.const(0, kind)

    def element(image: Any, pixel: Any, channel: Any) -> Scalar:
        return data[(image, *unflatten(pixel, space), channel)].astype(kind)

    def inside(block: Any, pixel: Any, value: Scalar) -> Scalar:
        """A term of a block's sum: the last block may have fewer pixels."""
        if workload.pixels % size == 0:
            return value
        return tirx.if_then_else(block * size + pixel < workload.pixels, value, zero)

    def pixels_of(block: Any) -> Scalar:
        if workload.pixels % size == 0:
            return tirx.const(size, kind)
        return tirx.min(int64(size), workload.pixels - block * size).astype(kind)

    def staged(shape: Sequence[int], at: Any, name: str, *, anchor: bool = False) -> te.Tensor:
        marks = {**ANCHOR.entry(TEMPLATE), **FLOPS.entry(0)} if anchor else STAGE.entry(name)
        return te.compute(int64s(shape), at, name=name, attrs=marks)

    first, second = (te.reduce_axis((int64(0), int64(size)), name) for name in ("p0", "p1"))
    by_block, by_channel, by_group = (images, count, channels), (images, channels), (images, groups)
    sums = staged(
        by_block,
        lambda n, b, c: te.sum(inside(b, first, element(n, b * size + first, c)), axis=first),
        SUMS,
        anchor=True,
    )
    averages = staged(by_block, lambda n, b, c: sums[n, b, c] / pixels_of(b), AVERAGES)

    def square(n: Any, b: Any, c: Any) -> Scalar:
        distance = element(n, b * size + second, c) - averages[n, b, c]
        return te.sum(inside(b, second, distance * distance), axis=second)

    squares = te.compute(
        int64s(by_block),
        square,
        name=SQUARES,
        attrs={**ANCHOR.entry(TEMPLATE), **FLOPS.entry(_FLOPS * math.prod((images, workload.pixels, channels)))},
    )

    # One stage, so that whoever joins the blocks reads nothing that has to stay in the loop over them.
    parts = staged((2, *by_block), lambda part, *at: tirx.if_then_else(part == 0, averages(*at), squares(*at)), PARTS)

    def of_group(by_channels: te.Tensor, name: str) -> te.Tensor:
        """The mean over a group of what is a sum over the pixels of each of its channels."""
        width = math.gcd(inner, choice.lanes)
        steps, lanes = (te.reduce_axis((int64(0), int64(extent)), name) for extent in (inner // width, width))
        # Sums side by side in a register, before those are added up.
        partial = staged(
            (*by_group, width),
            lambda n, g, lane: te.sum(by_channels[n, g * inner + steps * width + lane], axis=steps),
            f"{name}_partial",
        )
        total = staged(by_group, lambda n, g: te.sum(partial[n, g, lanes], axis=lanes), f"{name}_total")
        return staged(by_group, lambda n, g: total[n, g] / tirx.const(inner * workload.pixels, kind), name)

    blocks = [te.reduce_axis((int64(0), int64(count)), name) for name in ("b0", "b1")]
    totals = staged(
        by_channel,
        lambda n, c: te.sum(parts[0, n, blocks[0], c] * pixels_of(blocks[0]), axis=blocks[0]),
        "channel_sums",
    )
    mean_of_group = of_group(totals, "group_mean")
    mean = staged(by_channel, lambda n, c: mean_of_group[n, c // inner], "mean")

    def joined(n: Any, c: Any) -> Scalar:
        distance = parts[0, n, blocks[1], c] - mean[n, c]
        return te.sum(parts[1, n, blocks[1], c] + distance * distance * pixels_of(blocks[1]), axis=blocks[1])

    variance = of_group(staged(by_channel, joined, "channel_squares"), "group_variance")
    inverse = staged(
        by_group,
        lambda n, g: tirx.const(1, kind) / tirx.sqrt(variance[n, g] + tirx.const(epsilon, kind)),
        "inverse_deviation",
    )
    scale = staged(by_channel, lambda n, c: gamma[c].astype(kind) * inverse[n, c // inner], "scale")
    return te.compute(
        data.shape,
        lambda n, *rest: (
            (data[(n, *rest)].astype(kind) - mean[n, rest[-1]]) * scale[n, rest[-1]] + beta[rest[-1]].astype(kind)
        ).astype(data.dtype),
        name=RESULT,
    )

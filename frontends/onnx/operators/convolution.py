"""Convolutions in one, two and three dimensions, and their transposes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from tvm import relax, te, tirx, topi

from ..dtypes import numpy_dtype
from ..limits import check_tensor
from ..node import Array, Expr, Node, Result, Value, shape_of
from ..registry import operator
from ..windows import cropped, read_steps, read_window

CONVOLUTIONS = {1: relax.op.nn.conv1d, 2: relax.op.nn.conv2d, 3: relax.op.nn.conv3d}


@operator("Conv")
def convolution(node: Node) -> Result:
    """Convolution of [N, C, spatial...] with [O, C/groups, kernel...], and a bias by channel."""
    x, weight = node.expr(0), node.expr(1)
    spatial = shape_of(x)[2:]
    kernel = node.attr_ints("kernel_shape") or shape_of(weight)[2:]
    groups = node.attr_int("group", 1)
    check_channels(node, shape_of(x)[1], shape_of(weight)[1] * groups, shape_of(weight)[0], groups)
    if tuple(kernel) != shape_of(weight)[2:]:
        raise node.invalid(f"kernel_shape {list(kernel)} differs from the weight's shape {list(shape_of(weight))}")
    x, window = cropped(node, x, read_window(node, spatial, tuple(kernel)))
    if 0 in (*shape_of(x), *shape_of(weight)):  # sums of nothing, or nothing at all
        zeros = np.zeros((shape_of(x)[0], shape_of(weight)[0], *window.output), numpy_dtype(node.dtype(0)))
        return add_channel_bias(node, node.emit(zeros), 2)
    result = CONVOLUTIONS[spatial_rank(node, x)](
        x, weight, strides=window.strides, padding=window.padding, dilation=window.dilations, groups=groups
    )
    return add_channel_bias(node, node.emit(result), 2)


@operator("ConvTranspose")
def transposed_convolution(node: Node) -> Result:
    """The transpose of a convolution, as a convolution: zeros between the inputs, the kernel mirrored.

    The weight is [C, O/groups, kernel...]. Extents follow `pads`, `output_padding`, `output_shape` or `auto_pad`.
    """
    x, weight = node.expr(0), node.inputs[1]
    rank = spatial_rank(node, x)
    spatial, weight_shape = shape_of(x)[2:], node.shape(1)
    groups = node.attr_int("group", 1)
    check_channels(node, shape_of(x)[1], weight_shape[0], weight_shape[0], groups)
    kernel = weight_shape[2:]
    strides, dilations, pads = read_steps(node, rank, kernel)
    begins, ends = _transposed_pads(node, spatial, kernel, strides, dilations, pads)
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(spatial, strides, kernel, dilations, strict=True)]
    output = [max(extent - begin - end, 0) for extent, begin, end in zip(full, begins, ends, strict=True)]
    lead = (shape_of(x)[0], weight_shape[1] * groups)
    check_tensor([*lead, *output])
    if 0 in (*shape_of(x), *weight_shape):
        return add_channel_bias(node, node.emit(np.zeros((*lead, *output), numpy_dtype(node.dtype(0)))), 2)
    check_tensor([*lead, *full])
    # Of a step that nothing takes, any is as good.
    strides = tuple(min(stride, extent) for stride, extent in zip(strides, full, strict=True))
    dilations = tuple(min(dilation, extent) for dilation, extent in zip(dilations, full, strict=True))
    if kernel == tuple(strides) and max(dilations) == 1 and not any((*begins, *ends)):
        return add_channel_bias(node, _blocks(node, x, weight, groups), 2)
    constant = node.constant(1)
    if constant is not None and not np.isfinite(constant).all():  # zeros must not meet it
        result = _overlapping_blocks(node, x, constant, groups, output, begins, strides, dilations)
        return add_channel_bias(node, result, 2)
    taps = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    spread = node.emit_te(_spread, x, strides) if max(strides) > 1 else x
    before = [tap - 1 - begin for tap, begin in zip(taps, begins, strict=True)]
    after = [tap - 1 - end for tap, end in zip(taps, ends, strict=True)]
    padding = [max(each, 0) for each in (*before, *after)]
    batch, channels, *extents = shape_of(spread)
    padded = [sum(parts) for parts in zip(extents, padding[:rank], padding[rank:], strict=True)]
    check_tensor([batch, channels, *padded])
    result = CONVOLUTIONS[rank](
        spread, _mirrored(node, weight, groups), padding=tuple(padding), dilation=dilations, groups=groups
    )
    result = _crop(node, node.emit(result), [-min(each, 0) for each in before], [-min(each, 0) for each in after])
    return add_channel_bias(node, result, 2)


def _overlapping_blocks(
    node: Node,
    x: Expr,
    weight: Array,
    groups: int,
    output: Sequence[int],
    begins: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Expr:
    """The transpose of a convolution as ONNX defines it: products with single pixels, added where they overlap."""
    channels, columns, *kernel = weight.shape
    spatial, rank = shape_of(x)[2:], len(kernel)
    split = weight.reshape(groups, channels // groups, columns, *kernel)
    packed = np.ascontiguousarray(np.moveaxis(split, 1, -1)).reshape(-1, channels // groups, *[1] * rank)
    products = node.emit(CONVOLUTIONS[rank](x, node.emit(packed), groups=groups))
    blocks = node.reshape(products, (shape_of(x)[0], groups * columns, *kernel, *spatial))
    return node.emit_te(_sum_of_blocks, node.emit(blocks), output, begins, strides, dilations)


def _blocks(node: Node, x: Expr, weight: Value, groups: int) -> Expr:
    """The transpose of a convolution whose windows do not overlap: a block of the result is a product with one pixel.

    The pixels of a block are channels of a 1x1 convolution first, its own channels innermost: channels-last, rows of
    these stay rows.
    """
    shape, spatial = shape_of(x), shape_of(x)[2:]
    rank = len(spatial)
    channels, columns, *kernel = node.shape(1)
    split = (groups, channels // groups, columns, *kernel)
    order = (0, *range(3, 3 + rank), 2, 1)
    flat = (groups * math.prod(kernel) * columns, channels // groups, *[1] * rank)
    constant = node.constant(1)
    if constant is None:
        turned = node.emit(relax.op.permute_dims(node.reshape(node.expr(1), split), order))
        packed = node.reshape(turned, flat)
    else:
        packed = node.emit(np.ascontiguousarray(constant.reshape(split).transpose(order)).reshape(flat))
    products = node.emit(CONVOLUTIONS[rank](x, packed, groups=groups))
    lead = (shape[0], groups) if groups > 1 else (shape[0],)
    parts = node.reshape(products, (*lead, *kernel, columns, *spatial))
    first = len(lead)
    pixels = [each for axis in range(rank) for each in (first + rank + 1 + axis, first + axis)]
    blocks = node.emit(relax.op.permute_dims(parts, (*range(first), first + rank, *pixels)))
    extents = [extent * taps for extent, taps in zip(spatial, kernel, strict=True)]
    return node.emit(node.reshape(blocks, (shape[0], groups * columns, *extents)))


def add_channel_bias(node: Node, x: Expr, index: int) -> Expr:
    """x plus an optional input with one value a channel (dimension 1)."""
    if not node.has(index):
        return x
    bias = node.constant(index)
    shape = (node.shape(index)[0], *[1] * (len(shape_of(x)) - 2))
    if bias is None:
        return relax.op.add(x, node.reshape(node.expr(index), shape))
    return relax.op.add(x, node.emit(bias.reshape(shape)))


def spatial_rank(node: Node, x: Expr) -> int:
    """How many spatial dimensions a convolution has that there is an operator for."""
    rank = len(shape_of(x)) - 2
    if rank not in CONVOLUTIONS:
        raise node.unsupported(f"convolutions over {rank} spatial dimensions are not supported")
    return rank


def check_channels(node: Node, channels: int, expected: int, grouped: int, groups: int) -> None:
    """Refuses channels that differ from those the weight needs, or that the groups do not divide."""
    if channels != expected:
        raise node.invalid(f"the input has {channels} channels, the weight needs {expected}")
    if groups < 1 or channels % groups or grouped % groups:
        raise node.invalid(f"{groups} groups do not divide the channels")


def _transposed_pads(
    node: Node,
    spatial: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    pads: tuple[int, ...],
) -> tuple[list[int], list[int]]:
    """What is cut from each side of the full output; negative where the output is longer than that."""
    rank = len(spatial)
    adjust = node.attr_ints("output_padding") or (0,) * rank
    wanted = node.attr_ints("output_shape")
    if len(adjust) != rank or (wanted is not None and len(wanted) < rank):
        raise node.invalid(f"output_padding or output_shape does not fit {rank} spatial dimensions")
    auto_pad = node.attr_str("auto_pad", "NOTSET") or "NOTSET"
    begins, ends = [], []
    for axis in range(rank):
        full = (spatial[axis] - 1) * strides[axis] + (kernel[axis] - 1) * dilations[axis] + 1
        if wanted is not None or auto_pad in ("SAME_UPPER", "SAME_LOWER"):
            target = wanted[len(wanted) - rank + axis] if wanted is not None else spatial[axis] * strides[axis]
            # Where kernels do not reach each other, SAME has nothing to cut; a given length is filled up at its end.
            missing = max(target - full - adjust[axis], 0) if wanted is not None else 0
            total = max(full + adjust[axis] - target, 0)
            small, large = total // 2, total - total // 2
            begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
            end -= adjust[axis] + missing
        elif auto_pad == "VALID":
            begin, end = 0, -adjust[axis]
        else:
            begin, end = pads[axis], pads[rank + axis] - adjust[axis]
        if full - begin - end < 1:
            raise node.invalid("the pads cut the whole output away")
        begins.append(begin)
        ends.append(end)
    return begins, ends


def _spread(x: te.Tensor, strides: tuple[int, ...]) -> te.Tensor:
    """Zeros between the elements of the spatial dimensions, so that a step of one is a stride."""
    zero = tirx.const(0, x.dtype)
    shape = [*x.shape[:2], *((extent - 1) * stride + 1 for extent, stride in zip(x.shape[2:], strides, strict=True))]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        on_grid = [tirx.indexmod(i, stride) == 0 for i, stride in zip(index[2:], strides, strict=True) if stride > 1]
        source = [*index[:2], *(tirx.indexdiv(i, stride) for i, stride in zip(index[2:], strides, strict=True))]
        return tirx.if_then_else(tirx.all(*on_grid), x(*source), zero)

    return te.compute(shape, element, name="spread", tag=topi.tag.INJECTIVE)


def _mirrored(node: Node, weight: Value, groups: int) -> Expr:
    """[C, O/groups, kernel...] as [O, C/groups, kernel...] with the kernel reversed in every direction."""
    shape = node.shape(1)
    rank = len(shape) - 2
    split = (groups, shape[0] // groups, shape[1], *shape[2:])
    swap = [0, 2, 1, *range(3, 3 + rank)]
    joined = (shape[1] * groups, shape[0] // groups, *shape[2:])
    if isinstance(weight, np.ndarray):
        mirrored = np.flip(weight, axis=tuple(range(2, 2 + rank)))
        return node.emit(np.ascontiguousarray(mirrored.reshape(split).transpose(swap).reshape(joined)))
    for axis in range(2, 2 + rank):
        weight = node.emit(relax.op.flip(weight, axis))
    return node.emit(node.reshape(relax.op.permute_dims(node.reshape(weight, split), swap), joined))


def _crop(node: Node, x: Expr, before: list[int], after: list[int]) -> Expr:
    """x without its first and last elements in the spatial dimensions."""
    if not any((*before, *after)):
        return x
    shape = shape_of(x)[2:]
    axes = list(range(2, 2 + len(shape)))
    stops = [extent - end for extent, end in zip(shape, after, strict=True)]
    return node.emit(relax.op.strided_slice(x, axes, before, stops, assume_inbound=True))


@operator("Col2Im")
def columns_to_image(node: Node) -> Result:
    """Adds overlapping blocks [N, C * taps, positions] into an image: the transpose of taking the blocks out."""
    image = node.static_ints(1, "the image's shape")
    block = node.static_ints(2, "the block's shape")
    rank = len(image)
    strides, dilations, pads = read_steps(node, rank, tuple(block))
    if len(node.shape(0)) != 3:
        raise node.invalid(f"the input has {len(node.shape(0))} dimensions, and needs 3")
    batch, columns, positions = node.shape(0)
    channels = columns // math.prod(block)
    counts = [
        (image[a] + pads[a] + pads[rank + a] - (block[a] - 1) * dilations[a] - 1) // strides[a] + 1 for a in range(rank)
    ]
    if channels * math.prod(block) != columns or min(counts) < 1 or math.prod(counts) != positions:
        raise node.invalid("the columns do not fit the image and the block")
    blocks = node.emit(node.reshape(node.expr(0), (batch, channels, *block, *counts)))
    return node.emit_te(_sum_of_blocks, blocks, image, pads[:rank], strides, dilations)


def _sum_of_blocks(
    x: te.Tensor, image: Sequence[int], begins: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> te.Tensor:
    """[N, C, image...] of blocks [N, C, taps..., positions...] that are added where they overlap.

    Args:
        image: extents of the result.
        begins: what is cut from its beginning, along each axis.
        strides: from one block to the next.
        dilations: from one tap of a block to the next.
    """
    axes = range(len(image))
    block, counts = x.shape[2 : 2 + len(image)], x.shape[2 + len(image) :]
    taps = [te.reduce_axis((0, extent), name=f"k{axis}") for axis, extent in enumerate(block)]

    def element(*index: tirx.Var) -> tirx.PrimExpr:
        places = [index[2 + a] + begins[a] - taps[a] * dilations[a] for a in axes]
        starts = [tirx.floordiv(places[a], strides[a]) for a in axes]
        inside = [
            condition
            for a in axes
            for condition in (tirx.floormod(places[a], strides[a]) == 0, starts[a] >= 0, starts[a] < counts[a])
        ]
        value = tirx.if_then_else(tirx.all(*inside), x(index[0], index[1], *taps, *starts), tirx.const(0, x.dtype))
        return te.sum(value, axis=taps)

    return te.compute((*x.shape[:2], *image), element, name="sum_of_blocks")

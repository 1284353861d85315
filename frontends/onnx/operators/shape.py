"""Operators that only move elements or name shapes: reshape, transpose, split, concatenate, repeat, pad."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax

from .. import te_layout
from ..dtypes import is_float, numpy_dtype
from ..limits import check_tensor
from ..node import Expr, Node, Result, Value, dtype_of, shape_of
from ..registry import operator


@operator("Shape")
def shape(node: Node) -> Result:
    """The shape, or the part of it from `start` to `end`; known at compile time."""
    rank = len(node.shape(0))
    return np.asarray(node.shape(0)[slice(node.attr_int("start", 0), node.attr_int("end", rank))], np.int64)


@operator("Size")
def size(node: Node) -> Result:
    """The number of elements; known at compile time."""
    return np.asarray(math.prod(node.shape(0)), np.int64)


@operator("Reshape")
def reshape(node: Node) -> Result:
    """The same elements in another shape; -1 is inferred, 0 copies the input's extent unless `allowzero`."""
    old = node.shape(0)
    given = node.attr_ints("shape") if node.opset < 5 else node.static_ints(1, "the shape")
    new = list(given or ())
    if not node.attr_flag("allowzero", False):
        if any(extent == 0 and axis >= len(old) for axis, extent in enumerate(new)):
            raise node.invalid(f"the shape {new} copies a dimension that {list(old)} lacks")
        new = [old[axis] if extent == 0 else extent for axis, extent in enumerate(new)]
    known = math.prod(extent for extent in new if extent != -1)
    if new.count(-1) == 1 and known:
        new[new.index(-1)] = math.prod(old) // known
    if min(new, default=0) < 0 or math.prod(new) != math.prod(old):
        raise node.invalid(f"the shape {list(old)} cannot become {list(given or ())}")
    return _reshaped(node, tuple(new))


def _reshaped(node: Node, new: tuple[int, ...]) -> Result:
    if 0 in new:  # which relax.op.reshape takes for a dimension to copy
        return np.zeros(new, numpy_dtype(node.dtype(0)))
    x = node.expr(0)
    return x if shape_of(x) == new else node.reshape(x, new)


@operator("Flatten")
def flatten(node: Node) -> Result:
    """Two dimensions: those before `axis` and those from it on."""
    old = node.shape(0)
    axis = node.attr_int("axis", 1)
    axis = axis + len(old) if axis < 0 else axis
    if not 0 <= axis <= len(old):
        raise node.invalid(f"axis {axis} is outside a tensor of rank {len(old)}")
    return _reshaped(node, (math.prod(old[:axis]), math.prod(old[axis:])))


def _axes(node: Node) -> list[int] | None:
    """Axes as an attribute (before opset 13) or as an optional input."""
    if node.has(1):
        return node.static_ints(1, "the axes")
    given = node.attr_ints("axes")
    return None if given is None else list(given)


@operator("Squeeze")
def squeeze(node: Node) -> Result:
    """Without the given dimensions of extent 1, or without all of them."""
    old = node.shape(0)
    given = _axes(node)
    if given is None:
        return _reshaped(node, tuple(extent for extent in old if extent != 1))
    axes = {node.axis(axis, len(old)) for axis in given}
    if any(old[axis] != 1 for axis in axes):
        raise node.invalid(f"dimensions {sorted(axes)} of the shape {list(old)} are not all 1")
    return _reshaped(node, tuple(extent for axis, extent in enumerate(old) if axis not in axes))


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Result:
    """With dimensions of extent 1 put in; axes count in the result."""
    old = node.shape(0)
    given = _axes(node) or []
    rank = len(old) + len(given)
    axes = {node.axis(axis, rank) for axis in given}
    if len(axes) != len(given):
        raise node.invalid(f"the axes {given} repeat")
    rest = iter(old)
    return _reshaped(node, tuple(1 if axis in axes else next(rest) for axis in range(rank)))


@operator("Transpose")
def transpose(node: Node) -> Result:
    """Dimensions in another order; reversed if none is given."""
    rank = len(node.shape(0))
    order = node.attr_ints("perm") or tuple(reversed(range(rank)))
    if sorted(order) != list(range(rank)):
        raise node.invalid(f"{list(order)} is no order of {rank} dimensions")
    return node.expr(0) if list(order) == list(range(rank)) else relax.op.permute_dims(node.expr(0), list(order))


@operator("Concat")
def concat(node: Node) -> Result:
    """Joined along an axis."""
    rank = len(node.shape(0))
    axis = node.axis(node.attr_int("axis", 1), rank)
    filled = [index for index in range(len(node.inputs)) if 0 not in node.shape(index)]
    parts = [node.expr(index) for index in filled]
    if not parts:
        joined = sum(node.shape(index)[axis] for index in range(len(node.inputs)))
        shape = [joined if each == axis else extent for each, extent in enumerate(node.shape(0))]
        return np.zeros(shape, numpy_dtype(node.dtype(0)))
    return parts[0] if len(parts) == 1 else relax.op.concat(parts, axis)


@operator("Split")
def split(node: Node) -> Result:
    """Cut along an axis: at given sizes (attribute or input), or into equal parts, the last one shorter."""
    old = node.shape(0)
    axis = node.axis(node.attr_int("axis", 0), len(old))
    wanted = count = len(node.source.outputs)
    given = list(node.attr_ints("split") or ())
    if node.has(1):
        given = node.static_ints(1, "the sizes")
    if not given:
        count = node.attr_int("num_outputs", count)
        if count != wanted:
            raise node.invalid(f"num_outputs is {count}, and the node has {wanted} outputs")
        part = -(-old[axis] // count)
        given = [max(min(part, old[axis] - index * part), 0) for index in range(count)]
    if len(given) != wanted:
        raise node.invalid(f"{len(given)} sizes were given for {wanted} outputs")
    if sum(given) != old[axis] or min(given) < 0:
        raise node.invalid(f"the sizes {given} do not add up to {old[axis]}")
    x = node.expr(0)
    if len(given) == 1:
        return [x]
    stops = [int(stop) for stop in np.cumsum(given)]
    if 0 in given:
        starts = [stop - part for stop, part in zip(stops, given, strict=True)]
        return [_slice(node, x, axis, start, stop) for start, stop in zip(starts, stops, strict=True)]
    parts = node.emit(relax.op.split(x, stops[:-1], axis))
    return [relax.TupleGetItem(parts, index) for index in range(len(given))]


def _slice(node: Node, x: Expr, axis: int, start: int, stop: int) -> Result:
    if start == stop:
        empty = [0 if each == axis else extent for each, extent in enumerate(shape_of(x))]
        return np.zeros(empty, numpy_dtype(dtype_of(x)))
    return relax.op.strided_slice(x, [axis], [start], [stop], assume_inbound=True)


@operator("Expand")
def expand(node: Node) -> Result:
    """Broadcast with a shape, in both directions as numpy does."""
    old = node.shape(0)
    try:
        new = np.broadcast_shapes(old, tuple(node.static_ints(1, "the shape")))
    except ValueError as error:
        raise node.invalid(f"the shape {list(old)} does not broadcast: {error}") from error
    return _broadcast(node, new)


def _broadcast(node: Node, new: tuple[int, ...]) -> Result:
    if 0 in new:
        return np.zeros(new, numpy_dtype(node.dtype(0)))
    return node.expr(0) if node.shape(0) == new else relax.op.broadcast_to(node.expr(0), new)


@operator("Tile", since=1)
def tile_along_axis(node: Node) -> Result:
    """Repeated along one axis (opset 1)."""
    repeats = [1] * len(node.shape(0))
    repeats[node.axis(node.static_ints(2, "the axis")[0], len(repeats))] = node.static_ints(1, "the repeats")[0]
    return _tiled(node, repeats)


@operator("Tile", since=6)
def tile(node: Node) -> Result:
    """Repeated along every axis."""
    return _tiled(node, node.static_ints(1, "the repeats"))


def _tiled(node: Node, repeats: list[int]) -> Result:
    old = node.shape(0)
    if len(repeats) != len(old) or min(repeats, default=1) < 0:
        raise node.invalid(f"the repeats {repeats} do not fit the shape {list(old)}")
    new = tuple(extent * count for extent, count in zip(old, repeats, strict=True))
    check_tensor(new)
    if 0 in new:
        return np.zeros(new, numpy_dtype(node.dtype(0)))
    return node.expr(0) if max(repeats, default=1) == 1 else relax.op.tile(node.expr(0), repeats)


def _block(node: Node) -> int:
    size, mode = node.attr_int("blocksize", 1), node.attr_str("mode", "DCR")
    if size < 1:
        raise node.invalid(f"blocksize is {size}")
    if mode not in ("DCR", "CRD"):
        raise node.invalid(f"mode is '{mode}'; it is 'DCR' or 'CRD'")
    if len(node.shape(0)) != 4:
        raise node.invalid(f"its input has {len(node.shape(0))} dimensions, 4 are needed")
    return size


@operator("DepthToSpace")
def depth_to_space(node: Node) -> Result:
    """Blocks of channels become blocks of pixels; the order of channels is `mode` (DCR or CRD)."""
    block = _block(node)
    n, c, h, w = node.shape(0)
    if c % block**2:
        raise node.invalid(f"{c} channels are no whole number of blocks of {block}x{block}")
    if node.attr_str("mode", "DCR") == "DCR":
        parts, order = (n, block, block, c // block**2, h, w), [0, 3, 4, 1, 5, 2]
    else:
        parts, order = (n, c // block**2, block, block, h, w), [0, 1, 4, 2, 5, 3]
    spread = relax.op.permute_dims(node.reshape(node.expr(0), parts), order)
    return node.reshape(spread, (n, c // block**2, h * block, w * block))


@operator("SpaceToDepth")
def space_to_depth(node: Node) -> Result:
    """Blocks of pixels become blocks of channels; the order of channels is `mode` (DCR or CRD)."""
    block = _block(node)
    n, c, h, w = node.shape(0)
    if h % block or w % block:
        raise node.invalid(f"an image of {h}x{w} is no whole number of blocks of {block}x{block}")
    parts = node.reshape(node.expr(0), (n, c, h // block, block, w // block, block))
    order = [0, 1, 3, 5, 2, 4] if node.attr_str("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
    return node.reshape(relax.op.permute_dims(parts, order), (n, c * block**2, h // block, w // block))


@operator("Pad", since=1)
def pad_by_attributes(node: Node) -> Result:
    """Padding with widths and value as attributes (named `paddings` in opset 1)."""
    widths = node.attr_ints("pads") or node.attr_ints("paddings") or ()
    return _padded(node, list(widths), np.asarray(node.attr_float("value", 0.0)))


@operator("Pad", since=11)
def pad_by_inputs(node: Node) -> Result:
    """Padding with widths, value and axes as inputs."""
    rank = len(node.shape(0))
    given = node.static_ints(1, "the pads")
    axes = [node.axis(axis, rank) for axis in node.static_ints(3, "the axes")] if node.has(3) else list(range(rank))
    widths = [0] * (2 * rank)
    for index, axis in enumerate(axes):
        widths[axis], widths[rank + axis] = given[index], given[len(axes) + index]
    return _padded(node, widths, node.inputs[2] if node.has(2) else np.asarray(0))


def _padded(node: Node, widths: list[int], value: Value) -> Result:
    """Elements added (or, where negative, cut) before and after; widths are all the begins, then all the ends."""
    x = node.expr(0)
    old, dtype = shape_of(x), dtype_of(x)
    rank = len(old)
    if len(widths) != 2 * rank:
        raise node.invalid(f"{len(widths)} pads were given for {rank} dimensions")
    begins, ends = widths[:rank], widths[rank:]
    new = tuple(extent + begin + end for extent, begin, end in zip(old, begins, ends, strict=True))
    if min(new, default=0) < 0:
        raise node.invalid("the pads cut more than there is")
    if 0 in new:
        return np.zeros(new, numpy_dtype(dtype))
    mode = node.attr_str("mode", "constant")
    if not any(widths):
        return x
    known = isinstance(value, np.ndarray)
    fill = value.item() if known else node.emit(node.reshape(value, ()))
    if mode == "constant" and known and min(widths) >= 0 and is_float(dtype):
        pairs = [width for pair in zip(begins, ends, strict=True) for width in pair]
        return relax.op.nn.pad(x, pairs, "constant", fill)
    if mode not in te_layout.PAD_MODES:
        raise node.invalid(f"the attribute mode is '{mode}'")
    if mode in te_layout.CUTS_FIRST and min(widths) < 0:
        starts = [max(-begin, 0) for begin in begins]
        stops = [extent + min(end, 0) for extent, end in zip(old, ends, strict=True)]
        x = node.emit(relax.op.strided_slice(x, list(range(rank)), starts, stops, assume_inbound=True))
        begins = [max(begin, 0) for begin in begins]
    if mode != "constant" and 0 in shape_of(x):
        # There is no element to repeat, and the specification does not say what then. Nothing must be read.
        return np.zeros(new, numpy_dtype(dtype))
    shifts = any(begin and extent == before for begin, extent, before in zip(begins, new, shape_of(x), strict=True))
    return node.emit_te(te_layout.shifted if shifts else te_layout.pad, x, begins, new, mode, fill)


@operator("ReverseSequence")
def reverse_sequence(node: Node) -> Result:
    """The first elements of each sequence reversed, as many as `sequence_lens` says: the axis, where that is all."""
    axis, lengths = node.attr_int("time_axis", 0), node.known(1)
    if lengths is not None and (lengths == node.shape(0)[axis]).all():
        return node.emit(relax.op.flip(node.expr(0), axis))
    return node.emit_te(
        te_layout.reverse_sequence,
        node.expr(0),
        node.expr(1),
        time_axis=axis,
        batch_axis=node.attr_int("batch_axis", 1),
    )

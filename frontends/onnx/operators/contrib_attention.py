"""Attention as ONNX Runtime fuses it (domain com.microsoft)."""

from __future__ import annotations

import itertools

import numpy as np
from tvm import relax

from ....ir_passes.dialect.append import continued
from .. import attention_parts as parts
from .. import te_indexing
from ..node import Expr, Node, Result, dtype_of, shape_of
from ..registry import operator

_DOMAIN = "com.microsoft"
_MASKED = -10000.0


def _refuse(node: Node, **given: bool) -> None:
    for what, there in given.items():
        if there:
            raise node.unsupported(f"{what.replace('_', ' ')} is not supported")


def _part(node: Node, x: Expr, axis: int, start: int, stop: int) -> Expr:
    return node.emit(relax.op.strided_slice(x, [axis], [start], [stop], assume_inbound=True))


@operator("Attention", domain=_DOMAIN)
def attention(node: Node) -> Result:
    """Self-attention with its projection: weights of queries, keys and values stand side by side."""
    _refuse(node, rotation=node.attr_flag("do_rotary", False), past_sequence_length=node.has(6))
    count = node.attr_int("num_heads", 0)
    batch, length, _ = node.shape(0)
    width = node.shape(1)[1]
    sizes = node.attr_ints("qkv_hidden_sizes") or (width // 3,) * 3
    if sum(sizes) != width or sizes[0] != sizes[1]:
        raise node.invalid(f"weights of width {width} are not those of {list(sizes)}")
    projected = relax.op.matmul(node.expr(0), node.expr(1))
    projected = node.emit(relax.op.add(projected, node.expr(2)) if node.has(2) else projected)
    stops = np.cumsum(sizes)
    q, k, v = (
        parts.heads(node, _part(node, projected, 2, int(stop - size), int(stop)), count)
        for size, stop in zip(sizes, stops, strict=True)
    )
    if node.has(4):
        past = node.shape(4)
        halves = [node.reshape(_part(node, node.expr(4), 0, index, index + 1), past[1:]) for index in (0, 1)]
        k, v = (node.emit(relax.op.concat([half, new], 2)) for half, new in zip(halves, (k, v), strict=True))
    total = shape_of(k)[2]
    dtype = dtype_of(q)
    value = node.attr_float("mask_filter_value", _MASKED)
    added = [parts.padding(node, node.expr(3), length, total, value, dtype)] if node.has(3) else []
    added += [node.expr(5)] if node.has(5) else []
    added += [parts.causal(node, length, total, dtype)] if node.attr_flag("unidirectional", False) else []
    result = parts.attended(node, q, k, v, scale=node.attr_float("scale", 0.0), added=added)
    output = parts.merged(node, result)
    if not node.wants(1):
        return output
    size = shape_of(k)[-1]
    return [output, relax.op.concat([node.reshape(each, (1, batch, count, total, size)) for each in (k, v)], 0)]


@operator("MultiHeadAttention", domain=_DOMAIN)
def multi_head_attention(node: Node) -> Result:
    """Attention of projected queries, keys and values [batch, length, width], with a cache and masks."""
    _refuse(node, past_sequence_length=node.has(8), cache_indirection=node.has(9))
    count = node.attr_int("num_heads", 0)
    q, k, v = _projected(node, count)
    if node.has(6) != node.has(7):
        raise node.invalid("it has a past of keys or of values alone")
    if node.has(6):
        k, v = (node.emit(relax.op.concat([node.expr(index), new], 2)) for index, new in ((6, k), (7, v)))
    length, total, dtype = shape_of(q)[2], shape_of(k)[2], dtype_of(q)
    value = node.attr_float("mask_filter_value", _MASKED)
    added = [parts.padding(node, node.expr(4), length, total, value, dtype)] if node.has(4) else []
    added += [node.expr(5)] if node.has(5) else []
    if node.attr_flag("unidirectional", False):
        # Which keys come before which of several queries nobody says.
        differ = length not in (1, total) and not node.has(6)
        _refuse(node, unidirectional_attention_to_another_number_of_keys=differ)
        added.append(parts.causal(node, length, total, dtype))
    result = parts.attended(node, q, k, v, scale=node.attr_float("scale", 0.0), added=added)
    return [parts.merged(node, result), k, v]


def _projected(node: Node, count: int) -> tuple[Expr, Expr, Expr]:
    """Queries, keys and values by heads; they may come in one tensor, and keys and values as a cache has them."""
    widths = [0, 0, 0]
    given = [node.expr(0)]
    if len(node.shape(0)) == 5:
        given = _unpacked(node, node.expr(0), 3)
    elif not node.has(1):
        raise node.invalid("it has no keys")
    elif len(node.shape(1)) == 5:
        given += _unpacked(node, node.expr(1), 2)
    else:
        given += [node.expr(1), node.expr(2)]
    widths = [shape_of(given[0])[-1], 0, 0] if len(shape_of(given[1])) == 4 else [shape_of(each)[-1] for each in given]
    if node.has(3):
        stops = np.cumsum([shape_of(given[0])[-1], shape_of(given[0])[-1], 0])
        for index, width in enumerate(widths):
            if width:
                start = int(stops[index - 1]) if index else 0
                bias = _part(node, node.expr(3), 0, start, start + width)
                given[index] = node.emit(relax.op.add(given[index], bias))
    q, k, v = (each if len(shape_of(each)) == 4 else parts.heads(node, each, count) for each in given)
    return q, k, v


def _unpacked(node: Node, x: Expr, number: int) -> list[Expr]:
    """[batch, length, heads, number, size] as so many of [batch, length, heads * size]."""
    batch, length, count, packed, size = shape_of(x)
    if packed != number:
        raise node.invalid(f"{packed} tensors are packed in one, not {number}")
    return [node.reshape(_part(node, x, 3, i, i + 1), (batch, length, count * size)) for i in range(number)]


@operator("RotaryEmbedding", domain=_DOMAIN)
def rotary_embedding(node: Node) -> Result:
    """Pairs of elements of each head turned by angles that their position looks up in a cache."""
    _refuse(node, packed_batching=node.attr_flag("is_packed_batching", False))
    shape = node.shape(0)
    x, pairs = node.expr(0), node.shape(2)[1]
    count = node.attr_int("num_heads", 0)
    if len(shape) == 3:
        count = count or shape[2] // (2 * pairs)
        x = parts.heads(node, x, count)
    batch, _, length, _ = shape_of(x)
    positions = node.expr(1)
    if node.shape(1) == (1,):
        steps = node.emit(np.arange(length, dtype=np.int64)[None, :].repeat(batch, 0))
        positions = node.emit(relax.op.add(node.emit(relax.op.astype(positions, "int64")), steps))
    cosine, sine = _angles(node, (2, 3), positions)
    turned = parts.rotated(node, x, cosine, sine, interleaved=node.attr_flag("interleaved", False))
    scale = node.attr_float("scale", 1.0)
    turned = turned if scale == 1.0 else node.emit(relax.op.multiply(turned, node.scalar(scale, dtype_of(turned))))
    return parts.merged(node, turned) if len(shape) == 3 else turned


def _angles(node: Node, caches: tuple[int, int], positions: Expr) -> list[Expr]:
    return [node.emit(relax.op.take(node.expr(index), positions, 0, mode="wrap")) for index in caches]


@operator("GroupQueryAttention", domain=_DOMAIN)
def group_query_attention(node: Node) -> Result:
    """Causal attention whose keys and values stand in a cache; heads of keys serve several of queries."""
    _refuse(
        node,
        a_window_of_the_cache=node.attr_flag("sliding_window_cache", False),
        a_quantized_cache=node.has(12) or node.has(13),
        a_limit_of_scores=node.attr_float("softcap", 0.0) != 0.0,
        smooth_softmax=node.attr_int("smooth_softmax", 0) == 1 or node.has(11),
        an_output_of_scores=node.attr_int("qk_output", 0) != 0,
        normalization_of_queries=node.has(14),
        attention_to_later_tokens=node.attr_int("causal", 1) == 0,
    )
    count, kv_count = node.attr_int("num_heads", 0), node.attr_int("kv_num_heads", 0)
    q, k, v = _grouped(node, count, kv_count)
    batch, length = shape_of(q)[0], shape_of(q)[2]
    cached = node.shape(3)[2] if node.has(3) else 0
    total = length if not cached else node.static_ints(6, "the total length")[0]
    if total < length:
        raise node.invalid(f"the total length {total} is less than the {length} new tokens")
    if cached and total == cached + length and (batch == 1 or node.sizes_vary):
        return _continued(node, q, k, v)
    past = _past(node, batch, length, first=total == length)
    if node.attr_flag("do_rotary", False):
        positions = node.expr(9) if node.has(9) and total != length else None
        if positions is None:
            steps = node.emit(np.arange(length, dtype=np.int64)[None, :])
            positions = node.emit(relax.op.add(node.reshape(past, (batch, 1)), steps))
        angles = _angles(node, (7, 8), positions)
        interleaved = node.attr_flag("rotary_interleaved", False)
        q, k = (parts.rotated(node, each, *angles, interleaved=interleaved) for each in (q, k))
    room = max(cached, total)
    k, v = (_cached(node, index, new, past, room) for index, new in ((3, k), (4, v)))
    window = node.attr_int("local_window_size", -1)
    added = [node.expr(10)] if node.has(10) else []
    if added and shape_of(added[0])[-1] != room:
        raise node.unsupported("a bias of another length than the cache is not supported")
    added.append(parts.visible(node, past, length, room, window, dtype_of(q)))
    result = parts.attended(node, q, k, v, scale=node.attr_float("scale", 0.0), added=added)
    return [parts.merged(node, result), k, v]


def _continued(node: Node, q: Expr, k: Expr, v: Expr) -> Result:
    """What is new comes behind what the cache holds: of one text all of it, of several as much as each has."""
    batch, _, length, _ = shape_of(q)
    cached = node.shape(3)[2]
    total, window = cached + length, node.attr_int("local_window_size", -1)
    past = None
    if batch > 1:  # a prompt that is shorter than others has nothing behind it, either
        past = node.emit(relax.op.maximum(_past(node, batch, length, first=False), node.scalar(0, "int64")))
    if node.attr_flag("do_rotary", False):
        if node.has(9):
            positions = node.expr(9)
        elif past is None:
            places = node.emit(node.counted(np.arange(cached, total, dtype=np.int64), 1))
            positions = node.reshape(places, (1, length))
        else:
            steps = node.emit(np.arange(length, dtype=np.int64)[None, :])
            positions = node.emit(relax.op.add(node.reshape(past, (batch, 1)), steps))
        angles = _angles(node, (7, 8), positions)
        interleaved = node.attr_flag("rotary_interleaved", False)
        q, k = (parts.rotated(node, each, *angles, interleaved=interleaved) for each in (q, k))
    added = [node.expr(10)] if node.has(10) else []
    if past is None:
        k, v = (node.emit(relax.op.concat([node.expr(index), new], 2)) for index, new in ((3, k), (4, v)))
        added.append(parts.causal(node, length, total, dtype_of(q), window))
    else:
        k, v = (node.emit(continued(node.expr(index), new, past, 2)) for index, new in ((3, k), (4, v)))
        added.append(parts.visible_by_text(node, past, length, total, window, dtype_of(q)))
    result = parts.attended(node, q, k, v, scale=node.attr_float("scale", 0.0), added=added)
    return [parts.merged(node, result), k, v]


def _grouped(node: Node, count: int, kv_count: int) -> tuple[Expr, Expr, Expr]:
    """Queries, keys and values by heads, which may come side by side in the first input."""
    if min(count, kv_count) < 1 or count % kv_count:
        raise node.invalid(f"{kv_count} heads of keys do not serve {count} of queries")
    if node.has(1):
        q, k, v = (node.expr(index) for index in range(3))
    else:
        size = node.shape(0)[2] // (count + 2 * kv_count)
        stops = [0, count * size, (count + kv_count) * size, (count + 2 * kv_count) * size]
        q, k, v = (_part(node, node.expr(0), 2, *pair) for pair in itertools.pairwise(stops))
    return parts.heads(node, q, count), parts.heads(node, k, kv_count), parts.heads(node, v, kv_count)


def _past(node: Node, batch: int, length: int, *, first: bool) -> Expr:
    """How many tokens of each batch came before, int64[batch]."""
    if first:
        return node.emit(np.zeros(batch, np.int64))
    totals = node.emit(relax.op.astype(node.reshape(node.expr(5), (batch,)), "int64"))
    return node.emit(relax.op.subtract(totals, node.scalar(length - 1, "int64")))


def _cached(node: Node, index: int, new: Expr, past: Expr, room: int) -> Expr:
    """A cache of so many tokens with the new ones written where they belong."""
    batch, count, length, size = shape_of(new)
    if not node.has(index) and length == room:
        return new
    old = node.expr(index) if node.has(index) else node.emit(np.zeros((batch, count, 0, size), np.float32))
    if shape_of(old)[2] < room:
        old = node.emit(relax.op.nn.pad(old, [0, 0, 0, 0, 0, room - shape_of(old)[2], 0, 0]))
    return node.emit_te(te_indexing.written_rows, old, new, past, axis=2, circular=False)

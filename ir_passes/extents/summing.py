"""Rules of operators in which elements of an axis meet: reductions, products, attention, and what normalizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from tvm import relax

from ...ir_types import Expr
from ...sizes import Size
from ..core.constants import constant, numpy_dtype
from ..dialect import attention as attention_operator
from ..dialect import recurrent as recurrent_operator
from ..dialect import within
from ..dialect.cached_attention import cached_attention
from .caches import cache_of, uncast
from .digits import Extents, bound_of, size_of, varies, whole
from .step import Emit, Step, axes_of, broadcast

_INFINITY = math.inf
_FEW_QUERIES = 4  # for more it pays to pack keys and values


def _others(operand: Extents, axes: Sequence[int]) -> dict[int, int]:
    """Along axes where elements do not meet, nothing is read of what is not there; along these, all of it."""
    return {axis: 0 for axis in range(len(operand)) if axis not in axes}


def _reduced(step: Step, fill: float) -> Extents:
    operand = step.operands[0]
    axes = axes_of(step.call, len(operand))
    if any(varies(operand[axis]) for axis in axes):
        step.fill(0, fill, _others(operand, axes))
        step.in_sums.add(0)
    if bool(step.call.attrs.keepdims):
        return tuple(() if axis in axes else each for axis, each in enumerate(operand))
    return tuple(each for axis, each in enumerate(operand) if axis not in axes)


def reduction(fill: float) -> Callable[[Step], Extents]:
    """A reduction that this number does not change."""
    return lambda step: _reduced(step, fill)


def mean(step: Step) -> Extents:
    """The sum by the number of elements that are there."""
    operand = step.operands[0]
    axes = axes_of(step.call, len(operand))
    if any(varies(operand[axis]) for axis in axes):
        count: Size = 1
        for axis in axes:
            count = size_of(operand[axis]) * count
        step.sizes = (count,)
        keep, dtype = bool(step.call.attrs.keepdims), str(step.call.ty.dtype)

        def divided(operands: Sequence[Expr], emit: Emit) -> Expr:
            total = emit(relax.op.sum(operands[0], axes, keep))
            return relax.op.divide(total, emit(relax.op.astype(operands[1], dtype)))

        step.instead = divided
    return _reduced(step, 0)


def top_k(step: Step) -> tuple[Extents, ...]:
    """The best along one axis, and where they are."""
    operand = along(None)(step)
    axis = int(step.call.attrs.axis) % len(operand)
    found = (*operand[:axis], *whole([int(step.call.attrs.k)]), *operand[axis + 1 :])
    return found, found


def along(fill: float | None) -> Callable[[Step], Extents]:
    """What runs along one axis and keeps it; `fill` keeps out what is not there, without one all of it must be."""

    def rule(step: Step) -> Extents:
        operand = step.operands[0]
        axis = int(step.call.attrs.axis) % len(operand)
        if varies(operand[axis]):
            if fill is None:
                raise step.refused(f"it runs along axis {axis}")
            step.fill(0, fill, _others(operand, [axis]))
        return operand

    return rule


def cumulated(step: Step) -> Extents:
    """A sum of all that is before: what is not there comes after."""
    operand = step.operands[0]
    axis = int(step.call.attrs.axis) % len(operand)
    if len(operand[axis]) > 1 and varies(operand[axis]):
        raise step.refused(f"it runs along axis {axis}")
    return operand


def first_of_many(step: Step) -> Extents:
    """The place of the largest or the smallest element."""
    operand = step.operands[0]
    axes = range(len(operand)) if step.call.attrs.axis is None else [int(step.call.attrs.axis) % len(operand)]
    if any(varies(operand[axis]) for axis in axes):
        if any(len(operand[axis]) > 1 for axis in axes) or len(axes) > 1:
            raise step.refused("it looks for a place along several dimensions")
        step.fill(0, -_INFINITY if step.name == "argmax" else _INFINITY, _others(operand, axes))
    if bool(step.call.attrs.keepdims):
        return tuple(() if axis in axes else each for axis, each in enumerate(operand))
    return tuple(each for axis, each in enumerate(operand) if axis not in axes)


def normalization(step: Step) -> Extents:
    """Statistics along the last axes, which must be there throughout."""
    operand = step.operands[0]
    if any(varies(operand[axis]) for axis in (int(each) % len(operand) for each in step.call.attrs.axes)):
        raise step.refused("it normalizes along a dimension that varies")
    return operand


def group_norm(step: Step) -> Extents:
    """Statistics of whole images."""
    if any(varies(axis) for axis in step.operands[0][1:]):
        raise step.refused("it normalizes along a dimension that varies")
    return step.operands[0]


def matmul(step: Step) -> Extents:
    """A product; along an axis that varies both operands hold zeros where they are not there."""
    left, right = step.operands
    rows = left[-2:-1] if len(left) > 1 else ()
    columns = right[-1:] if len(right) > 1 else ()
    inner = left[-1], right[-2] if len(right) > 1 else right[-1]
    if any(varies(axis) for axis in inner):
        if all(varies(axis) for axis in inner) and inner[0] != inner[1]:
            raise step.refused("its operands are not there along the same part of what it sums over")
        step.fill(0, 0, _others(left, [len(left) - 1]))
        step.fill(1, 0, _others(right, [max(len(right) - 2, 0)]))
    rank = len(step.shape) - len(rows) - len(columns)
    batch = broadcast(step, [left[:-2], right[:-2]], step.shape[:rank])
    return (*batch, *rows, *columns)


def weight_product(step: Step) -> Extents:
    """A product with constants."""
    x, integers, *_ = step.operands
    if varies(x[-1]):
        raise step.refused("what it sums over varies, and its weights do not")
    return (*x[:-1], integers[-1])


def attention(step: Step) -> Extents:
    """Keys that are not there are masked, and they and their values are zeros."""
    q, k, v, *masks = step.operands
    if k[1] != v[1] or varies(q[2]) or varies(q[3]) or varies(k[2]) or varies(k[3]) or varies(v[3]):
        raise step.refused("heads or depths vary, or keys and values are not as many")
    batch = broadcast(step, [q[:1], k[:1], v[:1]], step.shape[:1])
    for mask in masks:
        broadcast(step, [mask[2:]], [bound_of(q[1]), bound_of(k[1])])
    if varies(k[1]):
        if len(k[1]) > 1:
            raise step.refused("keys are of several dimensions")
        if _reads_a_cache(step):
            return _of_cache(step, batch, q, k)
        step.fill(1, 0, _others(k, [1]))
        step.fill(2, 0, _others(v, [1]))
        keys, (digit,) = bound_of(k[1]), k[1]
        step.sizes = (digit.size,)
        attributes = step.call.attrs
        dtype = str(attributes["dtype"])

        def masked(operands: Sequence[Expr], emit: Emit) -> Expr:
            *given, size = operands
            zeros = constant(np.zeros((1, 1, 1, keys), numpy_dtype(dtype)))
            mask = emit(within.within(zeros, [(3, 1, 0)], [size], -_INFINITY))
            others = [
                emit(within.within(each, [(3, 1, 0)], [size], 0)) if _is_long(each, keys) else each
                for each in given[3:]
            ]
            return attention_operator.attention(
                [*given[:3], mask, *others],
                scale=float(attributes["scale"]),
                nan_is_zero=bool(int(attributes["nan_is_zero"])),
                dtype=dtype,
            )

        step.instead = masked
    return (*batch, q[1], *whole([step.shape[2], step.shape[3]]))


def _reads_a_cache(step: Step) -> bool:
    """Whether keys and values are read where they lie: those of a state, or for a few queries."""
    sources = [cache_of(argument, step.made_by) for argument in step.call.args[1:3]]
    few = bound_of(step.operands[0][1]) <= _FEW_QUERIES
    floats = str(step.call.attrs["dtype"]) == "float32" and not attention_operator.has_integers(step.call)
    return floats and (few or all(each.is_state for each in sources))


def _of_cache(step: Step, batch: Extents, q: Extents, k: Extents) -> Extents:
    """So many keys as there are, which nobody need mask or move."""
    step.sizes = (size_of(q[1]), size_of(k[1]))
    keys, values = (cache_of(argument, step.made_by) for argument in step.call.args[1:3])
    attributes = step.call.attrs

    def attended(operands: Sequence[Expr], emit: Emit) -> Expr:
        *given, queries, count = operands
        if keys.by_text is not None:
            count = emit(relax.op.add(*keys.by_text))
        return cached_attention(
            [
                uncast(given[0], step.made_by),
                keys.tensor,
                values.tensor,
                queries,
                count,
                *given[3:],
            ],
            scale=float(attributes["scale"]),
            nan_is_zero=bool(int(attributes["nan_is_zero"])),
            heads_first=(keys.heads_first, values.heads_first),
        )

    step.instead, step.own_end = attended, True
    return (*batch, q[1], *whole([step.shape[2], step.shape[3]]))


def _is_long(mask: Expr, keys: int) -> bool:
    return int(mask.ty.shape[3]) == keys


def recurrent(step: Step) -> tuple[Extents, ...]:
    """Sequences that end where they do; what is not there comes after the end, or is other sequences."""
    layer = recurrent_operator.layer_of(step.call)
    (steps, batch, columns), *others = step.operands
    states = [each for each in others if len(each) == 3 and varies(each[1])]
    if varies(columns) or any(varies(axis) for each in others for place, axis in enumerate(each[-3:]) if place != 1):
        raise step.refused("its gates or weights vary")
    sequences = broadcast(step, [(batch,), *((each[1],) for each in states)], [bound_of(batch)])
    if varies(steps) and not layer.lengths:
        if len(steps) > 1:
            raise step.refused("its steps are several dimensions")
        step.sizes = (steps[0].size,)
        place = 3 if layer.reset_after else 2

        def ending(operands: Sequence[Expr], emit: Emit) -> Expr:
            *given, size = operands
            length = emit(relax.op.reshape(emit(relax.op.astype(size, "int32")), (1,)))
            lengths = emit(relax.op.broadcast_to(length, (bound_of(batch),)))
            return recurrent_operator.recurrent(replace(layer, lengths=True), [*given[:place], lengths, *given[place:]])

        step.instead = ending
    every, *last = step.shapes
    of_sizes = whole(every)
    results: list[Extents] = [(steps, of_sizes[1], *sequences, of_sizes[3])]
    return (*results, *((whole(each)[0], *sequences, whole(each)[2]) for each in last))
